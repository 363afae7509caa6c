#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/locale.h"
#include "base/utf8.h"

const char *rrt_status_name(rrt_status status)
{
    switch (status) {
    case RRT_STATUS_OK:
        return "ok";
    case RRT_STATUS_ARGUMENT:
        return "wrong argument";
    case RRT_STATUS_IO:
        return "input/output error";
    case RRT_STATUS_FORMAT:
        return "damaged file";
    case RRT_STATUS_UNSUPPORTED:
        return "not supported";
    case RRT_STATUS_MISMATCH:
        return "mismatch";
    case RRT_STATUS_EXISTS:
        return "already exists";
    case RRT_STATUS_MEMORY:
        return "out of memory";
    case RRT_STATUS_NUMERIC:
        return "not a finite number";
    case RRT_STATUS_CANCELLED:
        return "cancelled";
    }
    return "unknown status";
}

static void format_printable(char *out, size_t size, const char *format, va_list arguments)
{
    locale_t before = rrt__locale_enter();
    vsnprintf(out, size, format, arguments);
    rrt__locale_leave(before);
    rrt__utf8_make_printable(out);
}

rrt_status rrt__fail(rrt_error *err, rrt_status status, const char *format, ...)
{
    if (!err) return status;
    err->status = status;
    err->where[0] = err->hint[0] = '\0';
    va_list arguments;
    va_start(arguments, format);
    format_printable(err->message, sizeof err->message, format, arguments);
    va_end(arguments);
    return status;
}

rrt_status rrt__fail_errno(rrt_error *err, const char *format, ...)
{
    int code = errno;
    rrt_status status = code == ENOMEM ? RRT_STATUS_MEMORY : RRT_STATUS_IO;
    if (!err) return status;
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    format_printable(text, sizeof text, format, arguments);
    va_end(arguments);
    return rrt__fail(err, status, "%s: %s", text, strerror(code));
}

rrt_status rrt__at(rrt_error *err, rrt_status status, const char *format, ...)
{
    if (!err) return status;
    char old[sizeof err->where];
    memcpy(old, err->where, sizeof old);
    va_list arguments;
    va_start(arguments, format);
    format_printable(err->where, sizeof err->where, format, arguments);
    va_end(arguments);
    size_t length = strlen(err->where);
    if (old[0]) snprintf(err->where + length, sizeof err->where - length, ": %s", old);
    rrt__utf8_make_printable(err->where); // the end may be a truncated character
    return status;
}

rrt_status rrt__hint(rrt_error *err, rrt_status status, const char *format, ...)
{
    if (!err) return status;
    va_list arguments;
    va_start(arguments, format);
    format_printable(err->hint, sizeof err->hint, format, arguments);
    va_end(arguments);
    return status;
}
