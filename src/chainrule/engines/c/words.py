"""What names in a C file must not be: C's own words, and those of the headers it includes."""

from __future__ import annotations

__all__ = ["RESERVED"]

_KEYWORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int
long register restrict return short signed sizeof static struct switch typedef union unsigned void
volatile while asm typeof bool true false alignas alignof constexpr nullptr static_assert
thread_local class this new delete template namespace operator private public protected virtual
""".split()

_OF_HEADERS = """
acos asin atan atan2 cos sin tan acosh asinh atanh cosh sinh tanh exp exp2 expm1 log log10 log1p
log2 logb ilogb ldexp frexp modf scalbn scalbln cbrt fabs hypot pow sqrt erf erfc lgamma tgamma ceil
floor nearbyint rint lrint llrint round lround llround trunc fmod remainder remquo copysign nan
nextafter nexttoward fdim fmax fmin fma fpclassify isfinite isinf isnan isnormal signbit isgreater
isgreaterequal isless islessequal islessgreater isunordered signgam j0 j1 jn y0 y1 yn gamma
drem significand scalb pow10 exp10 sincos finite
memcpy memmove memset memcmp memchr strlen strcpy strcat strcmp strcoll strerror index rindex bcopy
bzero ffs malloc calloc realloc free abs labs llabs div ldiv lldiv atoi atof atol rand srand random
srandom drand48 exit abort system getenv qsort bsearch printf fprintf sprintf snprintf puts putchar
scanf main stdin stdout stderr errno NULL EOF NAN INFINITY HUGE_VAL M_PI M_E
int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t intptr_t uintptr_t size_t
ptrdiff_t ssize_t intmax_t uintmax_t wchar_t off_t time_t float_t double_t FILE unix linux i386
signal select read write open close link pipe time clock step_many own status workspace generator
part parts threads result many own i j k l m n EXPORT LIBRARY BLAS_INTEGER product_float
product_double WORTH_BLAS BLAS_IN_PARTS
""".split()

_MATHEMATICS = [
    f"{name}{end}" for name in _OF_HEADERS[: _OF_HEADERS.index("memcpy")] for end in ("f", "l")
]

_MACROS = """
BIG_ENDIAN BUFSIZ BYTE_ORDER EXIT_FAILURE EXIT_SUCCESS FD_CLR FD_ISSET FD_SET FD_SETSIZE FD_ZERO
FILENAME_MAX FOPEN_MAX FP_ILOGB0 FP_ILOGBNAN FP_INFINITE FP_NAN FP_NORMAL FP_SUBNORMAL FP_ZERO
HUGE_VALF HUGE_VALL LITTLE_ENDIAN L_ctermid L_tmpnam MATH_ERREXCEPT MATH_ERRNO MB_CUR_MAX M_1_PI
M_2_PI M_2_SQRTPI M_LN10 M_LN2 M_LOG10E M_LOG2E M_PI_2 M_PI_4 M_SQRT1_2 M_SQRT2 NFDBITS PDP_ENDIAN
PTRDIFF_MAX PTRDIFF_MIN P_tmpdir RAND_MAX SEEK_CUR SEEK_END SEEK_SET SIG_ATOMIC_MAX SIG_ATOMIC_MIN
SIZE_MAX TMP_MAX WCHAR_MAX WCHAR_MIN WCONTINUED WEXITED WEXITSTATUS WIFCONTINUED WIFEXITED
WIFSIGNALED WIFSTOPPED WINT_MAX WINT_MIN WNOHANG WNOWAIT WSTOPPED WSTOPSIG WTERMSIG WUNTRACED
DOMAIN SING OVERFLOW UNDERFLOW PLOSS TLOSS HUGE math_errhandling assert
""".split()

_INTEGERS = [
    f"{sign}INT{kind}{size}_{what}"
    for sign in ("", "U")
    for kind, size in [
        *((kind, size) for kind in ("", "_FAST", "_LEAST") for size in (8, 16, 32, 64)),
        ("MAX", ""),
        ("PTR", ""),
    ]
    for what in ("MIN", "MAX", "C")
]

_OTHERS = """
a64l alloca aligned_alloc arc4random at_quick_exit atexit atoll bcmp clearenv clearerr ctermid
dprintf ecvt erand48 fclose fcvt fdopen feof ferror fflush ffsl ffsll fgetc fgetpos fgets fileno
flockfile fmemopen fopen fputc fputs fread freopen fscanf fseek fseeko fsetpos ftell ftello
ftrylockfile funlockfile fwrite gcvt getc getchar getdelim getline getloadavg getsubopt getw
initstate jrand48 l64a lcong48 lrand48 mblen mbstowcs mbtowc memccpy mkdtemp mkstemp mkstemps
mktemp mrand48 nrand48 on_exit pclose perror popen posix_memalign pselect putc putenv putw qecvt
qfcvt qgcvt quick_exit reallocarray realpath remove rename renameat rpmatch seed48 setbuf
setbuffer setenv setlinebuf setstate setvbuf srand48 sscanf stpcpy stpncpy strcasecmp strcspn
strdup strncasecmp strncat strncmp strncpy strndup strnlen strpbrk strrchr strsep strsignal strspn
strstr strtod strtof strtok strtol strtold strtoll strtoq strtoul strtoull strtouq strxfrm tmpfile
tmpnam tempnam ungetc unsetenv valloc vdprintf vfprintf vfscanf vprintf vscanf vsnprintf vsprintf
vsscanf wcstombs wctomb next_bits next_half next_double fork vfork pause sleep alarm dup pipe
chdir access accept bind send recv listen connect socket raise kill wait exec
""".split()
"""Functions of stdio.h, stdlib.h, string.h and of the system, which ours must not replace."""

RESERVED = frozenset([*_KEYWORDS, *_OF_HEADERS, *_MATHEMATICS, *_MACROS, *_INTEGERS, *_OTHERS])
