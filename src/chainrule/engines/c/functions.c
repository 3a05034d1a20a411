/* Mathematical functions for the C engine, of which a printed file holds those that it uses.

   Straight lines without branches, so that a loop over them becomes vector instructions; NaN and
   infinities pass through as in NumPy. The suffix of a name is the C type. A block headed by
   `for T in ...` stands for one text per type, with T replaced. Errors, in units in the last place,
   are measured by tools/derive_functions.py: see docs/functions.md. */

/* <coefficients> */

/* (exp(r) - 1 - r) / r**2, |r| <= ln(2) / 2: minimax, error 2**-31.9 of the result */
static const float exp_coefficients_float[6] = {
    5.0e-01f, 1.6666666e-01f, 4.1666348e-02f, 8.3333915e-03f, 1.394165e-03f, 1.9845934e-04f,
};

/* (exp(r) - 1 - r) / r**2, |r| <= ln(2) / 2: minimax, error 2**-55.5 of the result */
static const double exp_coefficients_double[10] = {
    0.5000000000000006, 0.16666666666666582, 0.04166666666656943, 0.008333333333394161,
    0.0013888888934152778, 0.00019841269711534266, 2.4801501986563376e-05, 2.755741113625279e-06,
    2.762740260234029e-07, 2.5053790513903674e-08,
};

/* (2**r - 1) / r, |r| <= 1 / 2: minimax, error 2**-28.8 of the result */
static const float exp2_coefficients_float[6] = {
    6.931472e-01f, 2.4022648e-01f, 5.5503294e-02f, 9.618449e-03f, 1.3400165e-03f, 1.5352445e-04f,
};

/* (2**r - 1) / r, |r| <= 1 / 2: minimax, error 2**-57.9 of the result */
static const double exp2_coefficients_double[11] = {
    0.6931471805599453, 0.2402265069591014, 0.05550410866481993, 0.009618129107591293,
    0.0013333558146803024, 0.0001540353046100996, 1.5252733474180613e-05, 1.321543320112926e-06,
    1.0178204134506212e-07, 7.0741610871365534e-09, 4.4345591058065377e-10,
};

/* (log(1 + f) - f + f**2 / 2) / f**3, sqrt(1/2) <= 1 + f <= sqrt(2): minimax, error 2**-30.3 of the result */
static const float log_coefficients_float[9] = {
    3.3333313e-01f, -2.500001e-01f, 2.0002119e-01f, -1.6667996e-01f, 1.4219552e-01f,
    -1.2405578e-01f, 1.18881434e-01f, -1.1675708e-01f, 6.746753e-02f,
};

/* (log((1 + s) / (1 - s)) - 2 * s) / s**3 in s**2, |s| <= (sqrt(2) - 1)**2: minimax, error 2**-59.5 of the result */
static const double log_coefficients_double[7] = {
    0.6666666666666734, 0.39999999999414654, 0.2857142874239156, 0.22222198572902815,
    0.1818356433322136, 0.1531405057627351, 0.14795947415782876,
};

/* (tanh(x) - x) / x**3 in x**2, |x| <= 0.55: minimax, error 2**-29.6 of the result */
static const float tanh_coefficients_float[5] = {
    -3.3333316e-01f, 1.33325e-01f, -5.3842288e-02f, 2.1027258e-02f, -6.20748e-03f,
};

/* (sin(r) - r) / r**3 in r**2, |r| <= pi / 4: minimax, error 2**-27.8 of the result */
static const float sin_coefficients_float[3] = {
    -1.6666654e-01f, 8.332083e-03f, -1.950432e-04f,
};

/* (sin(r) - r) / r**3 in r**2, |r| <= pi / 4: minimax, error 2**-57.6 of the result */
static const double sin_coefficients_double[6] = {
    -0.16666666666666624, 0.008333333333320037, -0.0001984126982785355, 2.755731299907895e-06,
    -2.5050647714416784e-08, 1.5890304539696856e-10,
};

/* (cos(r) - 1 + r**2 / 2) / r**4 in r**2, |r| <= pi / 4: minimax, error 2**-33.0 of the result */
static const float cos_coefficients_float[3] = {
    4.1666646e-02f, -1.3887243e-03f, 2.4423918e-05f,
};

/* (cos(r) - 1 + r**2 / 2) / r**4 in r**2, |r| <= pi / 4: minimax, error 2**-63.8 of the result */
static const double cos_coefficients_double[6] = {
    0.04166666666666658, -0.001388888888887092, 2.4801587287423095e-05, -2.755731374342138e-07,
    2.0875638899384593e-09, -1.135520949708658e-11,
};

/* erf(x) / x in x**2, |x| <= 3.95: above of a quotient, error 2**-25.5 */
static const float erf_above_float[6] = {
    1.1283791e+00f, 1.9153929e-01f, 5.2872308e-02f, 3.8072537e-03f, 2.8459085e-04f, 2.0249645e-06f,
};

/* erf(x) / x in x**2, |x| <= 3.95: below of a quotient, error 2**-25.5 */
static const float erf_below_float[6] = {
    1.0e+00f, 5.0307995e-01f, 1.1455355e-01f, 1.5053304e-02f, 1.1703653e-03f, 3.781702e-05f,
};

/* erf(x) / x in x**2, |x| <= 5.98: above of a quotient, error 2**-54.4 */
static const double erf_above_double[13] = {
    1.1283791670955126, 0.22107237770143745, 0.06628034032997375, 0.006938562298957871,
    0.0008600742844387483, 5.749659929350657e-05, 3.930090789798123e-06, 1.714134522456403e-07,
    6.814613990312097e-09, 1.7368802211199977e-10, 3.328418008363703e-12, 2.1870270676743346e-14,
    1.525394548192227e-17,
};

/* erf(x) / x in x**2, |x| <= 5.98: below of a quotient, error 2**-54.4 */
static const double erf_below_double[13] = {
    1.0, 0.5292536269262057, 0.13515729787070807, 0.02208573447350844, 0.0025800498954481827,
    0.00022775660423461267, 1.5631532522402886e-05, 8.429639353966968e-07, 3.550274443876045e-08,
    1.1347353936950314e-09, 2.564037812717958e-11, 3.2834992709202465e-13, 8.639117505758495e-16,
};

/* </coefficients> */

/* The bits of a float as an integer. */
static inline uint32_t bits_float(float x)
{
    uint32_t i;
    memcpy(&i, &x, sizeof i);
    return i;
}

/* The bits of a double as an integer. */
static inline uint64_t bits_double(double x)
{
    uint64_t i;
    memcpy(&i, &x, sizeof i);
    return i;
}

/* The float of these bits. */
static inline float from_bits_float(uint32_t i)
{
    float x;
    memcpy(&x, &i, sizeof x);
    return x;
}

/* The double of these bits. */
static inline double from_bits_double(uint64_t i)
{
    double x;
    memcpy(&x, &i, sizeof x);
    return x;
}

/* The nearest integer, |x| < 2**22: beside 1.5 * 2**23 there is no room for a fraction. */
static inline float nearest_float(float x)
{
    return (x + 12582912.0f) - 12582912.0f;
}

/* The nearest integer, |x| < 2**51: beside 1.5 * 2**52 there is no room for a fraction. */
static inline double nearest_double(double x)
{
    return (x + 6755399441055744.0) - 6755399441055744.0;
}

/* 2**n for an integer -127 <= n <= 128, 0 and inf at the ends: n + 127 put into the exponent. */
static inline float power_of_2_float(float n)
{
    return from_bits_float(bits_float(n + (12582912.0f + 127.0f)) << 23);
}

/* 2**n for an integer -1023 <= n <= 1024, 0 and inf at the ends: n + 1023 put into the exponent. */
static inline double power_of_2_double(double n)
{
    return from_bits_double(bits_double(n + (6755399441055744.0 + 1023.0)) << 52);
}

/* for T in float, double */
/* y * 2**n in two steps, as 2**n alone may be too large or too small. */
static inline T scaled_T(T y, T n)
{
    T half = nearest_T(n * (T)0.5);
    return y * power_of_2_T(half) * power_of_2_T(n - half);
}

/* for T in float, double */
/* c[0] + c[1] * x + c[2] * x**2, lowest power first: short chains of operations (G. Estrin). */
static inline T polynomial_3_T(const T *c, T x)
{
    return (c[0] + c[1] * x) + c[2] * (x * x);
}

/* for T in float, double */
/* c[0] + ... + c[3] * x**3. */
static inline T polynomial_4_T(const T *c, T x)
{
    return (c[0] + c[1] * x) + (c[2] + c[3] * x) * (x * x);
}

/* for T in float, double */
/* c[0] + ... + c[4] * x**4. */
static inline T polynomial_5_T(const T *c, T x)
{
    T x_2 = x * x;
    return (c[0] + c[1] * x) + ((c[2] + c[3] * x) + c[4] * x_2) * x_2;
}

/* for T in float, double */
/* c[0] + ... + c[5] * x**5. */
static inline T polynomial_6_T(const T *c, T x)
{
    T x_2 = x * x;
    return (c[0] + c[1] * x) + ((c[2] + c[3] * x) + (c[4] + c[5] * x) * x_2) * x_2;
}

/* for T in float, double */
/* c[0] + ... + c[6] * x**6. */
static inline T polynomial_7_T(const T *c, T x)
{
    T x_2 = x * x;
    return polynomial_4_T(c, x) + polynomial_3_T(c + 4, x) * (x_2 * x_2);
}

/* for T in float, double */
/* c[0] + ... + c[8] * x**8. */
static inline T polynomial_9_T(const T *c, T x)
{
    T x_2 = x * x;
    return polynomial_4_T(c, x) + polynomial_5_T(c + 4, x) * (x_2 * x_2);
}

/* for T in float, double */
/* c[0] + ... + c[9] * x**9. */
static inline T polynomial_10_T(const T *c, T x)
{
    T x_2 = x * x;
    return polynomial_4_T(c, x) + polynomial_6_T(c + 4, x) * (x_2 * x_2);
}

/* for T in float, double */
/* c[0] + ... + c[10] * x**10. */
static inline T polynomial_11_T(const T *c, T x)
{
    T x_2 = x * x;
    return polynomial_4_T(c, x) + polynomial_7_T(c + 4, x) * (x_2 * x_2);
}

/* for T in float, double */
/* c[0] + ... + c[12] * x**12. */
static inline T polynomial_13_T(const T *c, T x)
{
    T x_2 = x * x;
    return polynomial_4_T(c, x) + polynomial_9_T(c + 4, x) * (x_2 * x_2);
}

/* Exponentials. */

/* x - n * ln(2), of which the first part of ln(2) times n is exact. */
static inline float minus_n_ln2_float(float x, float n)
{
    return (x - n * 0.693359375f) + n * 2.1219444e-4f;
}

/* x - n * ln(2), of which the first part of ln(2) times n is exact. */
static inline double minus_n_ln2_double(double x, double n)
{
    return (x - n * 0x1.62e42fefa38p-1) - n * 0x1.ef35793c7673p-45;
}

/* exp(r) - 1, |r| <= ln(2) / 2. */
static inline float expm1_near_0_float(float r)
{
    return r + r * r * polynomial_6_float(exp_coefficients_float, r);
}

/* exp(r) - 1, |r| <= ln(2) / 2. */
static inline double expm1_near_0_double(double r)
{
    return r + r * r * polynomial_10_double(exp_coefficients_double, r);
}

/* exp(x) = 2**n * exp(r), n = round(x / ln(2)), r = x - n * ln(2). */
static inline float exp_float(float x)
{
    float limited = x > 89.0f ? 89.0f : x < -105.0f ? -105.0f : x;
    float n = nearest_float(limited * 1.44269504f);
    return scaled_float(1.0f + expm1_near_0_float(minus_n_ln2_float(limited, n)), n);
}

/* exp(x) = 2**n * exp(r), n = round(x / ln(2)), r = x - n * ln(2). */
static inline double exp_double(double x)
{
    double limited = x > 710.0 ? 710.0 : x < -746.0 ? -746.0 : x;
    double n = nearest_double(limited * 1.4426950408889634);
    return scaled_double(1.0 + expm1_near_0_double(minus_n_ln2_double(limited, n)), n);
}

/* exp(x) - 1 = 2**n * (exp(r) - 1) + (2**n - 1), by halves, as 2**128 is no float. */
static inline float expm1_float(float x)
{
    float limited = x > 89.0f ? 89.0f : x < -18.0f ? -18.0f : x;
    float n = nearest_float(limited * 1.44269504f);
    float e = expm1_near_0_float(minus_n_ln2_float(limited, n));
    float half = power_of_2_float(n - 1.0f);
    float y = 2.0f * (e * half + (half - 0.5f));
    return x == 0.0f ? x : y;
}

/* exp(x) - 1 = 2**n * (exp(r) - 1) + (2**n - 1), by halves, as 2**1024 is no double. */
static inline double expm1_double(double x)
{
    double limited = x > 710.0 ? 710.0 : x < -40.0 ? -40.0 : x;
    double n = nearest_double(limited * 1.4426950408889634);
    double e = expm1_near_0_double(minus_n_ln2_double(limited, n));
    double half = power_of_2_double(n - 1.0);
    double y = 2.0 * (e * half + (half - 0.5));
    return x == 0.0 ? x : y;
}

/* tanh(x) = x + x**3 * P(x**2) for |x| < 0.55, beyond it 1 - 2 / (exp(2 * |x|) + 1); 1 from 9.1 on. */
static inline float tanh_float(float x)
{
    float a = fabsf(x);
    float limited = a > 9.5f ? 19.0f : a + a;
    float n = nearest_float(limited * 1.44269504f);
    float e = expm1_near_0_float(minus_n_ln2_float(limited, n));
    float power = power_of_2_float(n);
    float outer = 1.0f - 2.0f / (e * power + (power + 1.0f));
    float a_2 = a * a;
    float inner = a + a * a_2 * polynomial_5_float(tanh_coefficients_float, a_2);
    return copysignf(a < 0.55f ? inner : outer, x);
}

/* tanh|x| = e / (e + 2), e = exp(2 * |x|) - 1; 1 from 19.1 on. */
static inline double tanh_double(double x)
{
    double a = fabs(x);
    double limited = a > 20.0 ? 40.0 : a + a;
    double n = nearest_double(limited * 1.4426950408889634);
    double e = expm1_near_0_double(minus_n_ln2_double(limited, n));
    double power = power_of_2_double(n);
    e = e * power + (power - 1.0);
    return copysign(e / (e + 2.0), x);
}

/* for T in float, double */
/* 1 / (1 + exp(-x)) = 1 - q for x >= 0 and q below, where q = e / (1 + e), e = exp(-|x|): nothing
   overflows and no small result is lost. A small q is e - e * q, closer than the quotient. */
static inline T sigmoid_T(T x)
{
    T e = exp_T(x < 0 ? x : -x);
    T q = e / ((T)1 + e);
    T below = e < (T)0.25 ? e - e * q : q;
    return x < 0 ? below : (T)1 - q;
}

/* Logarithms. */

/* The logarithm for x > 0, not inf: x = 2**n * (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), n and f
   read from the bits; log(x) = n * ln(2) + log(1 + f). */
static inline float log_float(float x)
{
    int is_subnormal = x < 0x1p-126f;
    uint32_t i = bits_float(is_subnormal ? x * 0x1p23f : x) + (0x3f800000u - 0x3f3504f3u);
    float n = from_bits_float(i >> 23 | 0x4b000000u) - (is_subnormal ? 8388758.0f : 8388735.0f);
    float f = from_bits_float((i & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    float f_2 = f * f;
    float tail = f * f_2 * polynomial_9_float(log_coefficients_float, f) - n * 2.1219444e-4f;
    float y = n * 0.693359375f + (f + (tail - 0.5f * f_2));
    return x > 0.0f ? (x < INFINITY ? y : x) : x == 0.0f ? -INFINITY : NAN;
}

/* log(x) = n * ln(2) + log(1 + f), x = 2**n * (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), n and f read
   from the bits; with s = f / (2 + f) and R the polynomial, log(1 + f) = log((1 + s) / (1 - s)) =
   2 * s + s**3 * R = f - (f**2 / 2 - s * (f**2 / 2 + s**2 * R)). */
static inline double log_double(double x)
{
    int is_subnormal = x < 0x1p-1022;
    uint64_t i = bits_double(is_subnormal ? x * 0x1p52 : x) + 0x00095f619980c433u;
    double n = from_bits_double(i >> 52 | 0x4330000000000000u)
               - (is_subnormal ? 4503599627371571.0 : 4503599627371519.0);
    double f = from_bits_double((i & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu) - 1.0;
    double s = f / (2.0 + f), s_2 = s * s, half_square = 0.5 * f * f;
    double rest = s_2 * polynomial_7_double(log_coefficients_double, s_2);
    double tail = s * (half_square + rest) + n * 0x1.ef35793c7673p-45;
    double y = n * 0x1.62e42fefa38p-1 + (f - (half_square - tail));
    return x > 0.0 ? (x < INFINITY ? y : x) : x == 0.0 ? -INFINITY : NAN;
}

/* log(1 + x) as log of the float u next to 1 + x, plus (1 + x - u) / u; where u is between sqrt(1/2)
   and sqrt(2), of x itself. */
static inline float log1p_float(float x)
{
    float u = 1.0f + x, part = u - 1.0f;
    float lost = (1.0f - (u - part)) + (x - part);
    uint32_t i = bits_float(u) + (0x3f800000u - 0x3f3504f3u);
    float n = from_bits_float(i >> 23 | 0x4b000000u) - 8388735.0f;
    float f = n == 0.0f ? x : from_bits_float((i & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    float correction = n == 0.0f ? 0.0f : lost / u;
    float f_2 = f * f;
    float tail = f * f_2 * polynomial_9_float(log_coefficients_float, f)
                 + (correction - n * 2.1219444e-4f);
    float y = n * 0.693359375f + (f + (tail - 0.5f * f_2));
    y = x == 0.0f ? x : y;
    return x > -1.0f ? (x < INFINITY ? y : x) : x == -1.0f ? -INFINITY : NAN;
}

/* log(1 + x) as log of the double u next to 1 + x, plus (1 + x - u) / u; where u is between
   sqrt(1/2) and sqrt(2), of x itself. */
static inline double log1p_double(double x)
{
    double u = 1.0 + x, part = u - 1.0;
    double lost = (1.0 - (u - part)) + (x - part);
    uint64_t i = bits_double(u) + 0x00095f619980c433u;
    double n = from_bits_double(i >> 52 | 0x4330000000000000u) - 4503599627371519.0;
    double f = n == 0.0 ? x : from_bits_double((i & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu) - 1.0;
    double correction = n == 0.0 ? 0.0 : lost / u;
    double s = f / (2.0 + f), s_2 = s * s, half_square = 0.5 * f * f;
    double rest = s_2 * polynomial_7_double(log_coefficients_double, s_2);
    double tail = s * (half_square + rest) + (correction + n * 0x1.ef35793c7673p-45);
    double y = n * 0x1.62e42fefa38p-1 + (f - (half_square - tail));
    y = x == 0.0 ? x : y;
    return x > -1.0 ? (x < INFINITY ? y : x) : x == -1.0 ? -INFINITY : NAN;
}

/* Circular functions. */

/* sin(r + q * pi / 2), |r| <= pi / 4: the sine or the cosine of r, and the sign of either. */
static inline float sine_of_quadrant_float(float r, uint32_t quadrant)
{
    float r_2 = r * r;
    float sine = r + r * r_2 * polynomial_3_float(sin_coefficients_float, r_2);
    float cosine = 1.0f - (0.5f * r_2 - r_2 * r_2 * polynomial_3_float(cos_coefficients_float, r_2));
    return from_bits_float(bits_float(quadrant & 1 ? cosine : sine) ^ (quadrant & 2) << 30);
}

/* sin(r + q * pi / 2), |r| <= pi / 4: the sine or the cosine of r, and the sign of either. */
static inline double sine_of_quadrant_double(double r, uint64_t quadrant)
{
    double r_2 = r * r;
    double sine = r + r * r_2 * polynomial_6_double(sin_coefficients_double, r_2);
    double cosine = 1.0 - (0.5 * r_2 - r_2 * r_2 * polynomial_6_double(cos_coefficients_double, r_2));
    return from_bits_double(bits_double(quadrant & 1 ? cosine : sine) ^ (quadrant & 2) << 62);
}

/* The sine of x + first * pi / 2 for |x| <= 1e5: x less n times pi / 2 in two parts, as double, where
   n times the first part is exact (W. J. Cody and W. Waite, 1980). */
static inline float sine_near_float(float x, uint32_t first)
{
    float shifted = x * 0.636619772f + 12582912.0f, n = shifted - 12582912.0f;
    double r = ((double)x - (double)n * 0x1.921fb544p+0) - (double)n * 0x1.0b4611a626331p-34;
    return sine_of_quadrant_float((float)r, bits_float(shifted) + first);
}

/* The sine of x + first * pi / 2 for |x| <= 1e8: x less n times pi / 2 in four parts, where n times
   each of the first three is exact (W. J. Cody and W. Waite, 1980). */
static inline double sine_near_double(double x, uint64_t first)
{
    double shifted = x * 0.6366197723675814 + 6755399441055744.0, n = shifted - 6755399441055744.0;
    double r = (x - n * 0x1.921fb5p+0) - n * 0x1.110b46p-26;
    r = (r - n * 0x1.1a6263p-54) - n * 0x1.8a2e03707344ap-81;
    return sine_of_quadrant_double(r, bits_double(shifted) + first);
}

/* The C library's, under a name by type. */
static inline float library_sin_float(float x)
{
    return sinf(x);
}

/* The C library's, under a name by type. */
static inline float library_cos_float(float x)
{
    return cosf(x);
}

/* Whether x is beyond the range of sine_near_float. */
static inline int is_far_float(float x)
{
    return x > 1e5f || x < -1e5f;
}

/* The C library's, under a name by type. */
static inline double library_sin_double(double x)
{
    return sin(x);
}

/* The C library's, under a name by type. */
static inline double library_cos_double(double x)
{
    return cos(x);
}

/* Whether x is beyond the range of sine_near_double. */
static inline int is_far_double(double x)
{
    return x > 1e8 || x < -1e8;
}

/* for T in float, double */
/* sin(x); far from 0 the library's. */
static inline T sin_T(T x)
{
    T y = sine_near_T(x, 0);
    if (is_far_T(x))
        y = library_sin_T(x);
    return x == 0 ? x : y;
}

/* for T in float, double */
/* cos(x); far from 0 the library's. */
static inline T cos_T(T x)
{
    T y = sine_near_T(x, 1);
    if (is_far_T(x))
        y = library_cos_T(x);
    return y;
}

/* The error function. */

/* erf(x) = x * P(x**2) / Q(x**2), which has rounded to 1 at the limit; nothing cancels. */
static inline float erf_float(float x)
{
    float limited = x > 3.95f ? 3.95f : x < -3.95f ? -3.95f : x;
    float t = limited * limited;
    float y = limited * polynomial_6_float(erf_above_float, t)
              / polynomial_6_float(erf_below_float, t);
    return y > 1.0f ? 1.0f : y < -1.0f ? -1.0f : y;
}

/* erf(x) = x * P(x**2) / Q(x**2), which has rounded to 1 at the limit; nothing cancels. */
static inline double erf_double(double x)
{
    double limited = x > 5.98 ? 5.98 : x < -5.98 ? -5.98 : x;
    double t = limited * limited;
    double y = limited * polynomial_13_double(erf_above_double, t)
               / polynomial_13_double(erf_below_double, t);
    return y > 1.0 ? 1.0 : y < -1.0 ? -1.0 : y;
}

/* for T in float, double, int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t */
/* The larger of two, NaN where one is. */
static inline T maximum_T(T x, T y)
{
    return x > y || x != x ? x : y;
}

/* for T in float, double, int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t */
/* The smaller of two, NaN where one is. */
static inline T minimum_T(T x, T y)
{
    return x < y || x != x ? x : y;
}
