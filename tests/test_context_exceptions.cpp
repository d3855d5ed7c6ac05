/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_context_exceptions.cpp -- C++ exceptions on contexts: the account of what is being handled and thrown is the
 * thread's, and must go with the context. Exit code 0, or 1 after a line for each thing found wrong. */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdexcept>
#include <string>
#include <thread>

#include <weft/base.h>

/* The library's private headers are C. */
#pragma GCC diagnostic push /* clang knows these too */
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#define _Noreturn [[noreturn]]
extern "C" {
#include "executor/context.h"
}
#undef _Noreturn
#pragma GCC diagnostic pop

namespace
{

int failures;

void check(bool ok, const char *what)
{
    if (!ok) {
        std::printf("wrong: %s\n", what);
        failures++;
    }
}

struct fiber {
    static constexpr size_t stack_size = size_t{256} * 1024;
    weft__context context{}, *back = nullptr;
    void *stack;
    uint32_t valgrind_id;
    const char *name;
    int step = 0;
    bool done = false;

    fiber(const char *its_name, void (*entry)(void *)) : stack(std::aligned_alloc(4096, stack_size)), name(its_name)
    {
        valgrind_id = weft__tools_stack_register(stack, stack_size);
        weft__context_init(&context, stack, stack_size, entry, this);
    }
    fiber(const fiber &) = delete;
    ~fiber()
    {
        weft__context_destroy(&context);
        weft__tools_stack_unregister(valgrind_id);
        weft__tools_stack_forget(stack, stack_size);
        std::free(stack);
    }
    void leave()
    {
        weft__context_switch(&context, back);
    }
    void enter(weft__context *from)
    {
        back = from;
        weft__context_switch(from, &context);
    }
};

struct counted : std::runtime_error {
    static int alive;
    explicit counted(const std::string &what) : std::runtime_error(what)
    {
        alive++;
    }
    counted(const counted &other) : std::runtime_error(other)
    {
        alive++;
    }
    ~counted() override
    {
        alive--;
    }
};
int counted::alive;

[[gnu::noinline]] void thrower(const std::string &what)
{
    throw counted(what);
}

/* Leaves while it unwinds: uncaught_exceptions() is this context's own. */
struct leaves_in_destructor {
    fiber *f;
    ~leaves_in_destructor()
    {
        check(std::uncaught_exceptions() == 1, "one exception in flight before the switch");
        f->leave();
        check(std::uncaught_exceptions() == 1, "one exception in flight after the switch");
    }
};

void finish(fiber *f)
{
    f->done = true;
    for (;;)
        f->leave();
}

/* Handles an exception, and inside the handler another one, leaving at each step; rethrows both. */
void handler(void *argument)
{
    fiber *f = static_cast<fiber *>(argument);
    std::string outer = std::string(f->name) + " outer", inner = std::string(f->name) + " inner";
    for (int round = 0; round < 100; round++) {
        check(std::current_exception() == nullptr, "nothing is being handled outside the handlers");
        try {
            try {
                thrower(outer);
            } catch (const counted &first) {
                f->leave();
                check(first.what() == outer, "the outer exception after a switch");
                try {
                    thrower(inner);
                } catch (const counted &second) {
                    f->leave();
                    check(second.what() == inner, "the inner exception after a switch");
                }
                f->leave();
                check(first.what() == outer, "the outer exception after the inner one");
                throw; /* whatever the thread thinks is being handled */
            }
        } catch (const counted &again) {
            f->leave();
            check(again.what() == outer, "the rethrown exception");
        }
        try {
            leaves_in_destructor guard{f};
            thrower(inner);
        } catch (const counted &last) {
            check(last.what() == inner, "the exception that passed a switch in a destructor");
        }
        check(std::uncaught_exceptions() == 0, "nothing in flight at the end of a round");
        f->step++;
    }
    finish(f);
}

/* Two contexts, in steps of different length, so that their handlers begin and end in all orders. */
void test_interleaved()
{
    weft__context here;
    weft__context_init_thread(&here);
    {
        fiber a("a", handler), b("b", handler);
        for (unsigned turn = 0; !a.done || !b.done; turn++) {
            fiber *next = turn % 3 == 0 ? &a : &b;
            if (turn % 7 == 0)
                next = next == &a ? &b : &a;
            if (!next->done)
                next->enter(&here);
            else
                (next == &a ? &b : &a)->enter(&here);
            check(std::uncaught_exceptions() == 0, "nothing in flight on the thread's own stack");
            check(std::current_exception() == nullptr, "nothing handled on the thread's own stack");
        }
        check(a.step == 100 && b.step == 100, "all rounds were run");
    }
    weft__context_destroy(&here);
    check(counted::alive == 0, "every exception was freed");
}

/* The account follows the context to another thread, whose own stays as it was. */
void test_other_thread()
{
    fiber f("moving", handler);
    while (!f.done) {
        for (int side = 0; side < 2; side++) {
            auto step = [&f] {
                weft__context here;
                weft__context_init_thread(&here);
                try {
                    thrower("the thread's own");
                } catch (const counted &own) {
                    f.enter(&here);
                    check(std::string(own.what()) == "the thread's own", "the exception of the thread");
                    check(std::current_exception() != nullptr, "the thread is handling its own");
                }
                weft__context_destroy(&here);
            };
            if (side == 0)
                step();
            else
                std::thread(step).join();
        }
    }
    check(f.step == 100, "all rounds were run, in two threads");
    check(counted::alive == 0, "every exception was freed, in two threads");
}

} // namespace

int main()
{
    check(__cxa_get_globals != nullptr, "the C++ runtime is there");
    test_interleaved();
    test_other_thread();
    std::printf("%s\n", failures == 0 ? "ok" : "FAILED");
    return failures != 0;
}
