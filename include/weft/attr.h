/* SPDX-License-Identifier: Apache-2.0 */
/* weft/attr.h -- visibility, compiler checks and the version. Included by every other header. */
#ifndef WEFT_ATTR_H
#define WEFT_ATTR_H

#if !defined(__GNUC__)
#error "weft needs gcc 12 or clang 14 or later: it uses their attributes and inline assembly"
#endif

#define WEFT_VERSION_MAJOR 0
#define WEFT_VERSION_MINOR 1
#define WEFT_VERSION_PATCH 0
#define WEFT_VERSION_STRING "0.1.0"

/* A symbol of the public interface; everything else is hidden. */
#define WEFT_API __attribute__((visibility("default")))
/* The result is an error code or a handle: dropping it loses the error or leaks the handle. */
#define WEFT_NODISCARD __attribute__((warn_unused_result))
#define WEFT_NONNULL(...) __attribute__((nonnull(__VA_ARGS__)))
#define WEFT_PURE __attribute__((pure))
#define WEFT_PRINTF(format_, first_) __attribute__((format(printf, format_, first_)))
#define WEFT_UNUSED __attribute__((unused))

#ifdef __cplusplus
#include <type_traits>
#define WEFT_BEGIN_DECLS extern "C" {
#define WEFT_END_DECLS }
/* A temporary with an address, as C's compound literals have: it lives to the end of the full expression. */
template <class T> struct weft__box {
    static_assert(std::is_trivially_copyable<T>::value,
                  "weft copies frames as bytes: plain members only (a pointer, not a std::string)");
    T value;
    T *address()
    {
        return &value;
    }
};
#else
#define WEFT_BEGIN_DECLS
#define WEFT_END_DECLS
#endif

#endif
