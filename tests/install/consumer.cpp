// SPDX-License-Identifier: Apache-2.0
// A client of the installed library in C++: the macros where the language has named initialisers (C++20), the frame built
// by hand before; an exception thrown in one function of a task and caught in another, with a suspension between.
#include <cstdio>
#include <stdexcept>
#include <string>
#include <weft.h>

namespace
{

struct parse {
    WEFT_FRAME;
    const char *text;
    int number;
};

int deep(const std::string &text)
{
    if (weft_yield() != 0)
        return -1;
    return std::stoi(text); // throws std::invalid_argument
}

int parse(struct parse *f)
{
    try {
        f->number = deep(f->text);
    } catch (const std::invalid_argument &) {
        f->number = -1;
    }
    return 0;
}
WEFT_CORO(parse);

weft_task *start(const char *text)
{
#if __cplusplus >= 202002L
    return weft_create_task(parse, .text = text);
#else
    struct parse frame {
    };
    frame.frame_.coro = &parse_coro_;
    frame.text = text;
    return weft_create_task_(nullptr, &frame.frame_);
#endif
}

struct ask {
    WEFT_FRAME;
    int good, bad;
};

int ask(struct ask *f)
{
    weft_task *good = start("42"), *bad = start("no number");
    int rc = weft_gather(good, bad);
    if (rc == 0) {
        f->good = weft_result(parse, good)->number;
        f->bad = weft_result(parse, bad)->number;
        std::printf("answer %d, caught %d\n", f->good, f->bad);
    }
    weft_release(good);
    weft_release(bad);
    return rc;
}
WEFT_CORO(ask);

} // namespace

int main()
{
#if __cplusplus >= 202002L
    int rc = weft_run(ask);
#else
    struct ask frame {
    };
    frame.frame_.coro = &ask_coro_;
    int rc = weft_run_(nullptr, &frame.frame_, sizeof frame);
#endif
    if (rc < 0)
        std::fprintf(stderr, "weft_run: %s\n", weft_strerror(rc));
    return rc < 0;
}
