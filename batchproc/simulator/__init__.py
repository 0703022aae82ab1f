"""The simulated provider: a server on loopback that speaks as one does, and enforces limits by its own count.

It is the judge of the client, so it imports nothing of the client but `batchproc.errors`.

    windows   one limit over one window, pure          limits    the limits of a model, all or none
    asked     what a request body asks for             charge    what it costs against the token limits
    answers   the body of an answer                    refusals  error bodies and headers, word for word
    faults    what goes wrong, and when                latency   how long an answer takes
    settings  every option, validated                  provider  all of the above as one pure function of time
    server    the provider behind HTTP                 mischief  answers that break the wire
    ledger    one line per request received            embedded  the server as a child process
    dialect   all in which providers differ            dialects  one file for each provider
    slots     requests at work, and their queue        decision  what becomes of a request

`provider` and what it uses read no clock and no random numbers, so they work in virtual time too.
"""
