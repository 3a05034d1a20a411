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
part parts threads result many own i j k l
""".split()

_MATHEMATICS = [
    f"{name}{end}" for name in _OF_HEADERS[: _OF_HEADERS.index("memcpy")] for end in ("f", "l")
]

RESERVED = frozenset([*_KEYWORDS, *_OF_HEADERS, *_MATHEMATICS])
