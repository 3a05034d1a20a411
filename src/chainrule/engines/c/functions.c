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

/* (log(1 + f) - f + f**2 / 2) / f**3, sqrt(1/2) <= 1 + f <= sqrt(2): minimax, error 2**-30.3 of the
   result */
static const float log_coefficients_float[9] = {
    3.3333313e-01f, -2.500001e-01f, 2.0002119e-01f, -1.6667996e-01f, 1.4219552e-01f,
    -1.2405578e-01f, 1.18881434e-01f, -1.1675708e-01f, 6.746753e-02f,
};

/* (log((1 + s) / (1 - s)) - 2 * s) / s**3 in s**2, |s| <= (sqrt(2) - 1)**2: minimax, error 2**-59.5
   of the result */
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

/* (arctan(t) - t) / t**3 in t**2, |t| <= tan(pi / 8): minimax, error 2**-59.5 of the result */
static const double arctan_coefficients_double[11] = {
    -0.333333333333332, 0.19999999999953663, -0.142857142802041, 0.11111110783821343,
    -0.09090897767335666, 0.07692060367025721, -0.06663105519753304, 0.0584789787470067,
    -0.05039333025192127, 0.038065010416026265, -0.017907403652669525,
};

/* (arcsin(s) - s) / s**3 in s**2, |s| <= 1 / 2: minimax, error 2**-59.8 of the result */
static const double arcsin_coefficients_double[13] = {
    0.16666666666666763, 0.07499999999970265, 0.04464285717511794, 0.03038194268375375,
    0.022372215656573175, 0.01735160015623262, 0.013980960712972985, 0.011397781744877024,
    0.010786498405207023, 0.0036831516800805, 0.021763246504189118, -0.02107695378058392,
    0.03267668919605073,
};

/* cbrt(1 + f), 0 <= f <= 1: minimax, error 2**-19.6 of the result */
static const double cbrt_coefficients_double[6] = {
    1.0000012317552665, 0.33323085912148553, -0.10973076748644928, 0.05471653851107017,
    -0.023643854324484518, 0.005348593809603469,
};

/* erf(x) / x - 1 in x**2, |x| <= 1.3: minimax, error 2**-29.2 of the result */
static const float erf_near_float[8] = {
    1.2837917e-01f, -3.7612626e-01f, 1.1283634e-01f, -2.6858514e-02f, 5.2055856e-03f,
    -8.305158e-04f, 1.0224479e-04f, -7.2480875e-06f,
};

/* erf(x) / x - 1 in x**2, |x| <= 1.25: minimax, error 2**-60.1 of the result */
static const double erf_near_double[14] = {
    0.1283791670955126, -0.3761263890318373, 0.1128379167095424, -0.026866170644984998,
    0.005223977624181783, -0.0008548326958332196, 0.00012055330799531555, -1.4925600627519893e-05,
    1.646132235949971e-06, -1.6356919539269267e-07, 1.4736091451012357e-08, -1.1896372700501312e-09,
    7.955090336113714e-11, -3.2797919139278664e-12,
};

/* erfc(x)**(-1/8), 1.3 <= x <= 3.95: minimax, error 2**-28.2 of the result */
static const float erf_far_float[8] = {
    9.8164374e-01f, 2.1985161e-01f, -5.5593967e-02f, 1.7358568e-01f, -8.929519e-02f, 3.6527038e-02f,
    -7.4360357e-03f, 8.090033e-04f,
};

/* erfc(x)**(-1/16), 1.25 <= x <= 5.95: minimax, error 2**-59.5 of the result */
static const double erf_far_double[16] = {
    1.0000001954268949, 0.07052198033387222, 0.04228260193279181, 0.009269692525653277,
    0.00018130004708133963, 0.00018981064963224446, 0.00014878902035043973, -6.632613074571142e-05,
    2.3896617816516106e-05, -5.7218500636430835e-06, 1.0611138957034014e-06,
    -1.4234178229238698e-07, 1.3624590742987316e-08, -8.084291998732158e-10, 2.3071582923452984e-11,
    1.54889975406409e-13,
};

/* (1 + 2 * x) * exp(x**2) * erfc(x) in (x - 4.5) / (x + 4.5), 0 <= x <= 27.5: minimax, error
   2**-55.9 of the result */
static const double erfc_coefficients_double[23] = {
    1.224848042738414, -0.13670709985543752, 0.03334406396822704, 0.043372220058814095,
    -0.08357835444766919, 0.09033360602696669, -0.07519744544467562, 0.05161384329757083,
    -0.029681792205801458, 0.014166837688417394, -0.0054042181927169705, 0.0014843204909373187,
    -0.00018218559780662337, -6.778153645253382e-05, 4.405383223190763e-05, -7.82996801037701e-06,
    -2.5261234653863806e-06, 1.6485328178692999e-06, -8.565648369414306e-08,
    -2.0262308094637903e-07, 2.9910587470079105e-08, 2.1726390875726245e-08, 1.0580920179042284e-09,
};

/* erfcx, 0.46875 <= x <= 4, above: highest power first, W. J. Cody, 1969 */
static const double erfcx_middle_p[9] = {
    2.1531153547440383e-08, 0.5641884969886701, 8.883149794388377, 66.11919063714163,
    298.6351381974001, 881.952221241769, 1712.0476126340707, 2051.0783778260716, 1230.3393547979972,
};

/* erfcx, 0.46875 <= x <= 4, below: highest power first, W. J. Cody, 1969 */
static const double erfcx_middle_q[9] = {
    1.0, 15.744926110709835, 117.6939508913125, 537.1811018620099, 1621.3895745666903,
    3290.7992357334597, 4362.619090143247, 3439.3676741437216, 1230.3393548037495,
};

/* erfcx, x > 4, above: highest power first, W. J. Cody, 1969 */
static const double erfcx_far_p[6] = {
    0.016315387137302097, 0.30532663496123236, 0.36034489994980445, 0.12578172611122926,
    0.016083785148742275, 0.0006587491615298378,
};

/* erfcx, x > 4, below: highest power first, W. J. Cody, 1969 */
static const double erfcx_far_q[6] = {
    1.0, 2.568520192289822, 1.8729528499234673, 0.5279051029514285, 0.06051834131244132,
    0.0023352049762686918,
};

/* normal quantile, centre, above: highest power first, M. J. Wichura, 1988 */
static const double quantile_centre_p[8] = {
    2509.0809287301227, 33430.57558358813, 67265.7709270087, 45921.95393154987, 13731.69376550946,
    1971.5909503065513, 133.14166789178438, 3.3871328727963665,
};

/* normal quantile, centre, below: highest power first, M. J. Wichura, 1988 */
static const double quantile_centre_q[8] = {
    5226.495278852854, 28729.085735721943, 39307.89580009271, 21213.794301586597, 5394.196021424751,
    687.1870074920579, 42.31333070160091, 1.0,
};

/* normal quantile, tails, above: highest power first, M. J. Wichura, 1988 */
static const double quantile_tail_p[8] = {
    0.0007745450142783414, 0.022723844989269184, 0.2417807251774506, 1.2704582524523684,
    3.6478483247632045, 5.769497221460691, 4.630337846156546, 1.4234371107496835,
};

/* normal quantile, tails, below: highest power first, M. J. Wichura, 1988 */
static const double quantile_tail_q[8] = {
    1.0507500716444169e-09, 0.0005475938084995345, 0.015198666563616457, 0.14810397642748008,
    0.6897673349851, 1.6763848301838038, 2.053191626637759, 1.0,
};

/* normal quantile, ends, above: highest power first, M. J. Wichura, 1988 */
static const double quantile_end_p[8] = {
    2.0103343992922881e-07, 2.7115555687434876e-05, 0.0012426609473880784, 0.026532189526576124,
    0.29656057182850487, 1.7848265399172913, 5.463784911164114, 6.657904643501103,
};

/* normal quantile, ends, below: highest power first, M. J. Wichura, 1988 */
static const double quantile_end_q[8] = {
    2.0442631033899397e-15, 1.421511758316446e-07, 1.8463183175100548e-05, 0.0007868691311456133,
    0.014875361290850615, 0.1369298809227358, 0.599832206555888, 1.0,
};

/* log(Gamma(2 + z)), |z| <= 1/2: highest power first */
static const double gammaln_at_2[28] = {
    -2.7595228851242334e-10, 5.731367241678862e-10, -1.1921401405860912e-09, 2.4836745438024785e-09,
    -5.183475041970047e-09, 1.0838659214896955e-08, -2.2711094608943164e-08, 4.769810169363981e-08,
    -1.00432248239681e-07, 2.1207184805554667e-07, -4.492469198764566e-07, 9.55141213040742e-07,
    -2.039215753801366e-06, 4.374866789907487e-06, -9.439488275268395e-06, 2.0507212775670688e-05,
    -4.492623673813314e-05, 9.945751278180853e-05, -0.00022315475845357936, 0.0005096695247430423,
    -0.0011927539117032608, 0.002890510330741523, -0.007385551028673984, 0.020580808427784543,
    -0.06735230105319807, 0.3224670334241132, 0.42278433509846713, 0.0,
};

/* B(2 * k) / (2 * k * (2 * k - 1)), k = 9 ... 1 */
static const double gammaln_stirling[9] = {
    0.17964437236883057, -0.02955065359477124, 0.006410256410256411, -0.0019175269175269174,
    0.0008417508417508418, -0.0005952380952380952, 0.0007936507936507937, -0.002777777777777778,
    0.08333333333333333,
};

/* B2, B4, ..., B22 */
static const double bernoulli_numbers[11] = {
    0.16666666666666666, -0.03333333333333333, 0.023809523809523808, -0.03333333333333333,
    0.07575757575757576, -0.2531135531135531, 1.1666666666666667, -7.092156862745098,
    54.971177944862156, -529.1242424242424, 6192.123188405797,
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
/* c[0] + ... + c[7] * x**7. */
static inline T polynomial_8_T(const T *c, T x)
{
    T x_2 = x * x;
    return polynomial_4_T(c, x) + polynomial_4_T(c + 4, x) * (x_2 * x_2);
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
/* c[0] + ... + c[11] * x**11. */
static inline T polynomial_12_T(const T *c, T x)
{
    T x_2 = x * x;
    return polynomial_4_T(c, x) + polynomial_8_T(c + 4, x) * (x_2 * x_2);
}

/* for T in float, double */
/* c[0] + ... + c[12] * x**12. */
static inline T polynomial_13_T(const T *c, T x)
{
    T x_2 = x * x;
    return polynomial_4_T(c, x) + polynomial_9_T(c + 4, x) * (x_2 * x_2);
}

/* for T in float, double */
/* c[0] + ... + c[13] * x**13. */
static inline T polynomial_14_T(const T *c, T x)
{
    T x_2 = x * x;
    return polynomial_4_T(c, x) + polynomial_10_T(c + 4, x) * (x_2 * x_2);
}

/* for T in float, double */
/* c[0] + ... + c[14] * x**14. */
static inline T polynomial_15_T(const T *c, T x)
{
    T x_2 = x * x;
    return polynomial_4_T(c, x) + polynomial_11_T(c + 4, x) * (x_2 * x_2);
}

/* for T in float, double */
/* c[0] + ... + c[15] * x**15. */
static inline T polynomial_16_T(const T *c, T x)
{
    T x_2 = x * x;
    return polynomial_4_T(c, x) + polynomial_12_T(c + 4, x) * (x_2 * x_2);
}

/* for T in float, double */
/* c[0] + ... + c[17] * x**17. */
static inline T polynomial_18_T(const T *c, T x)
{
    T x_2 = x * x;
    return polynomial_4_T(c, x) + polynomial_14_T(c + 4, x) * (x_2 * x_2);
}

/* for T in float, double */
/* c[0] + ... + c[21] * x**21. */
static inline T polynomial_22_T(const T *c, T x)
{
    T x_2 = x * x;
    return polynomial_4_T(c, x) + polynomial_18_T(c + 4, x) * (x_2 * x_2);
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

/* 2**x = 2**n * 2**(x - n), n = round(x). */
static inline float exp2_float(float x)
{
    float limited = x > 129.0f ? 129.0f : x < -151.0f ? -151.0f : x;
    float n = nearest_float(limited), r = limited - n;
    return scaled_float(1.0f + r * polynomial_6_float(exp2_coefficients_float, r), n);
}

/* 2**x = 2**n * 2**(x - n), n = round(x). */
static inline double exp2_double(double x)
{
    double limited = x > 1025.0 ? 1025.0 : x < -1076.0 ? -1076.0 : x;
    double n = nearest_double(limited), r = limited - n;
    return scaled_double(1.0 + r * polynomial_11_double(exp2_coefficients_double, r), n);
}

/* exp(x) - 1 = 2**n * (exp(r) - 1) + (2**n - 1), by halves, as 2**128 is no float. */
static inline float expm1_float(float x)
{
    float limited = x > 89.0f ? 89.0f : x < -18.0f ? -18.0f : x;
    float n = nearest_float(limited * 1.44269504f);
    float e = expm1_near_0_float(minus_n_ln2_float(limited, n));
    float half = power_of_2_float(n - 1.0f);
    float y = 2.0f * (e * half + (half - 0.5f));
    return fabsf(x) < 0x1p-100f ? x : y;
}

/* exp(x) - 1 = 2**n * (exp(r) - 1) + (2**n - 1), by halves, as 2**1024 is no double. */
static inline double expm1_double(double x)
{
    double limited = x > 710.0 ? 710.0 : x < -40.0 ? -40.0 : x;
    double n = nearest_double(limited * 1.4426950408889634);
    double e = expm1_near_0_double(minus_n_ln2_double(limited, n));
    double half = power_of_2_double(n - 1.0);
    double y = 2.0 * (e * half + (half - 0.5));
    return fabs(x) < 0x1p-1000 ? x : y;
}

/* tanh(x) = x + x**3 * P(x**2) for |x| < 0.55, beyond it 1 - 2 / (exp(2 * |x|) + 1); 1 from 9.1 on.
   */
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

/* sinh|x| = h + h / (2 * h + 1), h = (exp(|x|) - 1) / 2, which overflows no sooner than the result,
   computed by halves, as 2**(n - 1) may be no double. */
static inline double sinh_double(double x)
{
    double a = fabs(x), limited = a > 710.5 ? 710.5 : a;
    double n = nearest_double(limited * 1.4426950408889634);
    double e = expm1_near_0_double(minus_n_ln2_double(limited, n));
    double quarter = power_of_2_double(n - 2.0);
    double h = 2.0 * (e * quarter + (quarter - 0.25));
    double y = h + h / (h + h + 1.0);
    return a < 0x1p-1000 ? x : copysign(h > 1e17 ? h : y, x);
}

/* cosh(x) = h + 1 / (4 * h), h = exp(|x|) / 2, computed by halves. */
static inline double cosh_double(double x)
{
    double a = fabs(x), limited = a > 710.5 ? 710.5 : a;
    double n = nearest_double(limited * 1.4426950408889634);
    double e = expm1_near_0_double(minus_n_ln2_double(limited, n));
    double quarter = power_of_2_double(n - 2.0);
    double h = 2.0 * (e * quarter + quarter);
    return h + 0.25 / h;
}

/* 1 / (1 + exp(-x)) = 1 - q for x >= 0 and q below, where q = e / (1 + e), e = exp(-|x|): nothing
   overflows and no small result is lost. A small q is e - e * q, closer than the quotient. */
static inline float sigmoid_float(float x)
{
    float e = exp_float(x < 0.0f ? x : -x);
    float q = e / (1.0f + e);
    float below = e < 0.25f ? e - e * q : q;
    return x < 0.0f ? below : 1.0f - q;
}

/* 1 / (1 + e), e = exp(-|x|), and e / (1 + e) below 0: nothing overflows, no small result is lost.
   */
static inline double sigmoid_double(double x)
{
    double e = exp_double(x < 0.0 ? x : -x);
    return (x < 0.0 ? e : 1.0) / (1.0 + e);
}

/* Logarithms. */

/* n of x = 2**n * (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), for x > 0 that is not subnormal: read from
   the bits, to which so much is added that the exponent steps at sqrt(1/2). */
static inline float exponent_float(float x)
{
    return from_bits_float((bits_float(x) + 0x004afb0du) >> 23 | 0x4b000000u) - 8388735.0f;
}

/* n of x = 2**n * (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), for x > 0 that is not subnormal: read from
   the bits, to which so much is added that the exponent steps at sqrt(1/2). */
static inline double exponent_double(double x)
{
    return from_bits_double((bits_double(x) + 0x00095f619980c433u) >> 52 | 0x4330000000000000u)
           - 4503599627371519.0;
}

/* f of x = 2**n * (1 + f). */
static inline float fraction_float(float x)
{
    return from_bits_float(((bits_float(x) + 0x004afb0du) & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
}

/* f of x = 2**n * (1 + f). */
static inline double fraction_double(double x)
{
    uint64_t i = (bits_double(x) + 0x00095f619980c433u) & 0x000fffffffffffffu;
    return from_bits_double(i + 0x3fe6a09e667f3bcdu) - 1.0;
}

/* log(1 + f) + low, sqrt(1/2) <= 1 + f < sqrt(2), as f - f**2 / 2 + f**3 * R. */
static inline float log_of_fraction_float(float f, float low)
{
    float f_2 = f * f;
    return f + ((f * f_2 * polynomial_9_float(log_coefficients_float, f) + low) - 0.5f * f_2);
}

/* log(1 + f) + low, sqrt(1/2) <= 1 + f < sqrt(2): with s = f / (2 + f) it is log((1 + s) / (1 - s))
   = 2 * s + s**3 * R = f - (f**2 / 2 - s * (f**2 / 2 + s**2 * R)). */
static inline double log_of_fraction_double(double f, double low)
{
    double s = f / (2.0 + f), s_2 = s * s, half_square = 0.5 * f * f;
    double rest = s_2 * polynomial_7_double(log_coefficients_double, s_2);
    return f - (half_square - (s * (half_square + rest) + low));
}

/* for T in float, double */
/* What a logarithm is outside 0 < x < inf: inf, -inf at 0, NaN below; y inside. */
static inline T log_or_edge_T(T x, T y)
{
    return x > 0 ? (x < (T)INFINITY ? y : x) : x == 0 ? -(T)INFINITY : (T)NAN;
}

/* log(x) = n * ln(2) + log(1 + f), x = 2**n * (1 + f). */
static inline float log_float(float x)
{
    int is_subnormal = x < 0x1p-126f;
    float normal = is_subnormal ? x * 0x1p23f : x;
    float n = exponent_float(normal) - (is_subnormal ? 23.0f : 0.0f);
    float y = log_of_fraction_float(fraction_float(normal), n * -2.1219444e-4f);
    return log_or_edge_float(x, n * 0.693359375f + y);
}

/* log(x) = n * ln(2) + log(1 + f), x = 2**n * (1 + f). */
static inline double log_double(double x)
{
    int is_subnormal = x < 0x1p-1022;
    double normal = is_subnormal ? x * 0x1p52 : x;
    double n = exponent_double(normal) - (is_subnormal ? 52.0 : 0.0);
    double y = log_of_fraction_double(fraction_double(normal), n * 0x1.ef35793c7673p-45);
    return log_or_edge_double(x, n * 0x1.62e42fefa38p-1 + y);
}

/* log2(x) = n + log(1 + f) / ln(2), x = 2**n * (1 + f). */
static inline double log2_double(double x)
{
    int is_subnormal = x < 0x1p-1022;
    double normal = is_subnormal ? x * 0x1p52 : x;
    double n = exponent_double(normal) - (is_subnormal ? 52.0 : 0.0);
    double y = log_of_fraction_double(fraction_double(normal), 0.0);
    return log_or_edge_double(x, n + (y * 1.4426950408889634 + y * 0x1.777d0ffda0d24p-56));
}

/* log10(x) = n * log10(2) + log(1 + f) / ln(10), x = 2**n * (1 + f). */
static inline double log10_double(double x)
{
    int is_subnormal = x < 0x1p-1022;
    double normal = is_subnormal ? x * 0x1p52 : x;
    double n = exponent_double(normal) - (is_subnormal ? 52.0 : 0.0);
    double y = log_of_fraction_double(fraction_double(normal), 0.0);
    double low = n * 0x1.9fef311f12b36p-42 + y * 0x1.95355baaafad3p-57;
    return log_or_edge_double(x, n * 0x1.34413509f6000p-2 + (y * 0.4342944819032518 + low));
}

/* log(1 + x) as log of the float u next to 1 + x, plus (1 + x - u) / u; where u is between
   sqrt(1/2) and sqrt(2), of x itself. */
static inline float log1p_float(float x)
{
    float u = 1.0f + x, part = u - 1.0f;
    float lost = (1.0f - (u - part)) + (x - part);
    float n = exponent_float(u);
    float f = n == 0.0f ? x : fraction_float(u);
    float correction = n == 0.0f ? 0.0f : lost / u;
    float y = n * 0.693359375f + log_of_fraction_float(f, correction - n * 2.1219444e-4f);
    y = x == 0.0f ? x : y;
    return x > -1.0f ? (x < INFINITY ? y : x) : x == -1.0f ? -INFINITY : NAN;
}

/* log(1 + x) as log of the double u next to 1 + x, plus (1 + x - u) / u; where u is between
   sqrt(1/2) and sqrt(2), of x itself. */
static inline double log1p_double(double x)
{
    double u = 1.0 + x, part = u - 1.0;
    double lost = (1.0 - (u - part)) + (x - part);
    double n = exponent_double(u);
    double f = n == 0.0 ? x : fraction_double(u);
    double correction = n == 0.0 ? 0.0 : lost / u;
    double low = correction + n * 0x1.ef35793c7673p-45;
    double y = n * 0x1.62e42fefa38p-1 + log_of_fraction_double(f, low);
    y = x == 0.0 ? x : y;
    return x > -1.0 ? (x < INFINITY ? y : x) : x == -1.0 ? -INFINITY : NAN;
}

/* Circular functions. */

/* sin(r + q * pi / 2), |r| <= pi / 4: the sine or the cosine of r, and the sign of either. */
static inline float sine_of_quadrant_float(float r, uint32_t quadrant)
{
    float r_2 = r * r;
    float sine = r + r * r_2 * polynomial_3_float(sin_coefficients_float, r_2);
    float tail = r_2 * r_2 * polynomial_3_float(cos_coefficients_float, r_2);
    float cosine = 1.0f - (0.5f * r_2 - tail);
    return from_bits_float(bits_float(quadrant & 1 ? cosine : sine) ^ (quadrant & 2) << 30);
}

/* sin(r + q * pi / 2), |r| <= pi / 4: the sine or the cosine of r, and the sign of either. */
static inline double sine_of_quadrant_double(double r, uint64_t quadrant)
{
    double r_2 = r * r;
    double sine = r + r * r_2 * polynomial_6_double(sin_coefficients_double, r_2);
    double tail = r_2 * r_2 * polynomial_6_double(cos_coefficients_double, r_2);
    double cosine = 1.0 - (0.5 * r_2 - tail);
    return from_bits_double(bits_double(quadrant & 1 ? cosine : sine) ^ (quadrant & 2) << 62);
}

/* The sine of x + first * pi / 2 for |x| <= 1e5: x less n times pi / 2 in two parts, as double,
   where n times the first part is exact (W. J. Cody and W. Waite, 1980). */
static inline float sine_near_float(float x, uint32_t first)
{
    float shifted = x * 0.636619772f + 12582912.0f, n = shifted - 12582912.0f;
    double r = ((double)x - (double)n * 0x1.921fb544p+0) - (double)n * 0x1.0b4611a626331p-34;
    return sine_of_quadrant_float((float)r, bits_float(shifted) + first);
}

/* x - n * pi / 2 for |n| < 2**26: pi / 2 in four parts, where n times each of the first three is
   exact (W. J. Cody and W. Waite, 1980). */
static inline double minus_n_half_pi_double(double x, double n)
{
    double r = (x - n * 0x1.921fb5p+0) - n * 0x1.110b46p-26;
    return (r - n * 0x1.1a6263p-54) - n * 0x1.8a2e03707344ap-81;
}

/* The sine of x + first * pi / 2 for |x| <= 1e8. */
static inline double sine_near_double(double x, uint64_t first)
{
    double shifted = x * 0.6366197723675814 + 6755399441055744.0;
    double n = shifted - 6755399441055744.0;
    return sine_of_quadrant_double(minus_n_half_pi_double(x, n), bits_double(shifted) + first);
}

/* Whether x is beyond the range of sine_near_float. */
static inline int is_far_float(float x)
{
    return x > 1e5f || x < -1e5f;
}

/* Whether x is beyond the range of sine_near_double. */
static inline int is_far_double(double x)
{
    return x > 1e8 || x < -1e8;
}

/* for T in float, double */
/* sin(x) where x is not far. */
static inline T sin_near_T(T x)
{
    T y = sine_near_T(x, 0);
    return x == 0 ? x : y;
}

/* for T in float, double */
/* cos(x) where x is not far. */
static inline T cos_near_T(T x)
{
    return sine_near_T(x, 1);
}

/* for T in float, double */
/* sin(x); where x is far the library's, whose call keeps a loop from becoming vectors. */
static inline T sin_T(T x)
{
    return is_far_T(x) ? sin_libm(x) : sin_near_T(x);
}

/* for T in float, double */
/* cos(x); where x is far the library's. */
static inline T cos_T(T x)
{
    return is_far_T(x) ? cos_libm(x) : cos_near_T(x);
}

/* tan(x) where x is not far: sin(r) / cos(r), or -cos(r) / sin(r) in an odd quadrant. */
static inline double tan_near_double(double x)
{
    double shifted = x * 0.6366197723675814 + 6755399441055744.0;
    double n = shifted - 6755399441055744.0;
    double r = minus_n_half_pi_double(x, n);
    double sine = sine_of_quadrant_double(r, 0), cosine = sine_of_quadrant_double(r, 1);
    int is_odd = bits_double(shifted) & 1;
    double y = (is_odd ? -cosine : sine) / (is_odd ? sine : cosine);
    return x == 0.0 ? x : y;
}

/* tan(x) where x is not far, computed as double. */
static inline float tan_near_float(float x)
{
    return (float)tan_near_double((double)x);
}

/* for T in float, double */
/* tan(x); where x is far the library's. */
static inline T tan_T(T x)
{
    return is_far_T(x) ? tan_libm(x) : tan_near_T(x);
}

/* arctan|x| = b + arctan(t), t = |x|, (|x| - 1) / (|x| + 1) or -1 / |x|, and b 0, pi / 4 or pi / 2,
   so that |t| <= tan(pi / 8); arctan(t) = t + t**3 * P(t**2). */
static inline double arctan_double(double x)
{
    double a = fabs(x);
    int is_middle = a > 0.41421356237309503, is_far = a > 2.414213562373095;
    double above = is_far ? -1.0 : is_middle ? a - 1.0 : a;
    double below = is_far ? a : is_middle ? a + 1.0 : 1.0;
    double high = is_far ? 1.5707963267948966 : is_middle ? 0.7853981633974483 : 0.0;
    double low = is_far ? 6.123233995736766e-17 : is_middle ? 3.061616997868383e-17 : 0.0;
    double t = above / below, t_2 = t * t;
    double tail = t * t_2 * polynomial_11_double(arctan_coefficients_double, t_2);
    return copysign(high + (t + (tail + low)), x);
}

/* arcsin(s) - s of s, s**2 <= 1/4, given s**2: s**3 * P(s**2). */
static inline double arcsin_tail_double(double s, double s_2)
{
    return s * s_2 * polynomial_13_double(arcsin_coefficients_double, s_2);
}

/* arcsin|x| = s + s**3 * P(s**2) with s = |x| up to 1/2, from there pi / 2 less twice that of
   s = sqrt((1 - |x|) / 2). */
static inline double arcsin_double(double x)
{
    double a = fabs(x);
    int is_outer = a > 0.5;
    double s_2 = is_outer ? 0.5 * (1.0 - a) : a * a;
    double s = is_outer ? sqrt(s_2) : a;
    double tail = arcsin_tail_double(s, s_2);
    double outer = 1.5707963267948966 - (2.0 * (s + tail) - 6.123233995736766e-17);
    return copysign(is_outer ? outer : s + tail, x);
}

/* arccos(x) = pi / 2 - arcsin(x) up to |x| = 1/2, from there 2 * arcsin(s), s = sqrt((1 - |x|) /
   2), for negative x taken from pi. */
static inline double arccos_double(double x)
{
    double a = fabs(x);
    int is_outer = a > 0.5;
    double s_2 = is_outer ? 0.5 * (1.0 - a) : a * a;
    double s = is_outer ? sqrt(s_2) : x;
    double tail = arcsin_tail_double(s, s_2), outer = 2.0 * (s + tail);
    outer = x < 0.0 ? 3.141592653589793 - (outer - 1.2246467991473532e-16) : outer;
    return is_outer ? outer : 1.5707963267948966 - (s + (tail - 6.123233995736766e-17));
}

/* The cube root: |x| = 2**(3 * k) * v, 1 <= v < 8; of v by a polynomial, then E. Halley's step
   y - y * (y**3 - v) / (2 * y**3 + v), which cubes the relative error. */
static inline double cbrt_double(double x)
{
    double a = fabs(x);
    int is_subnormal = a < 0x1p-1022;
    uint64_t i = bits_double(is_subnormal ? a * 0x1p54 : a);
    double n = from_bits_double(i >> 52 | 0x4330000000000000u) - 4503599627371519.0;
    double m = from_bits_double((i & 0x000fffffffffffffu) | 0x3ff0000000000000u);
    double k = nearest_double((n - 1.0) * 0.3333333333333333), rest = n - 3.0 * k;
    double v = m * (rest == 0.0 ? 1.0 : rest == 1.0 ? 2.0 : 4.0);
    double root = rest == 0.0 ? 1.0 : rest == 1.0 ? 1.2599210498948732 : 1.5874010519681994;
    double y = root * polynomial_6_double(cbrt_coefficients_double, m - 1.0), cube = y * y * y;
    y = (y - y * (cube - v) / (cube + cube + v)) * power_of_2_double(k);
    y = is_subnormal ? y * 0x1p-18 : y;
    return copysign(a > 0.0 ? (a < INFINITY ? y : a) : a, x);
}

/* The error function. */

/* erf|x| = |x| + |x| * P(x**2) up to 1.3, from there 1 - 1 / R(|x|)**8, 1 from 3.92 on. */
static inline float erf_float(float x)
{
    float a = fabsf(x), a_2 = a * a, limited = a > 3.95f ? 3.95f : a;
    float p = erf_near_float[0] + a_2 * polynomial_7_float(erf_near_float + 1, a_2);
    float root = polynomial_8_float(erf_far_float, limited);
    float root_2 = root * root, root_4 = root_2 * root_2;
    return copysignf(a < 1.3f ? a + a * p : 1.0f - 1.0f / (root_4 * root_4), x);
}

/* erf|x| = |x| + |x| * P(x**2) up to 1.25, from there 1 - 1 / R(|x|)**16, 1 from 5.93 on. */
static inline double erf_double(double x)
{
    double a = fabs(x), a_2 = a * a, limited = a > 5.95 ? 5.95 : a;
    double inner = a + a * polynomial_14_double(erf_near_double, a_2);
    double root = polynomial_16_double(erf_far_double, limited);
    double root_2 = root * root, root_4 = root_2 * root_2, root_8 = root_4 * root_4;
    return copysign(a < 1.25 ? inner : 1.0 - 1.0 / (root_8 * root_8), x);
}

/* erfc|x| = exp(-x**2) / (1 + 2 * |x|) * P((|x| - 4.5) / (|x| + 4.5)), the form of M. M. Shepherd
   and J. G. Laframboise, Mathematics of Computation 36 (1981); 2 - erfc|x| below 0. The square is
   in two parts, h**2 + (|x| - h) * (|x| + h) with h the upper half of the digits, so that h**2 is
   exact. For |x| < 1/2, where the result is near 1, 1 - erf(x). */
static inline double erfc_double(double x)
{
    double a = fabs(x), limited = a > 27.5 ? 27.5 : a;
    double t = (limited - 4.5) / (limited + 4.5);
    const double *c = erfc_coefficients_double;
    double p = c[0] + t * polynomial_22_double(c + 1, t);
    double h = from_bits_double(bits_double(limited) & 0xfffffffff8000000u);
    double square = -h * h, low = (limited - h) * (limited + h);
    double n = nearest_double(square * 1.4426950408889634);
    double e = expm1_near_0_double(minus_n_ln2_double(square, n) - low);
    double y = scaled_double((p * e + p) / (1.0 + 2.0 * limited), n);
    double near = 1.0 - (x + x * polynomial_14_double(erf_near_double, x * x));
    return a < 0.5 ? near : x < 0.0 ? 2.0 - y : y;
}

/* The normal distribution function, erfc(-x / sqrt(2)) / 2. */
static inline double ndtr_double(double x)
{
    return 0.5 * erfc_double(x * -0.7071067811865476);
}

/* Special functions, number by number: the same formulas as the library's in NumPy. */

/* The polynomial with these n coefficients, highest power first (W. G. Horner). */
static inline double horner_double(const double *c, int n, double x)
{
    double y = c[0];
    for (int i = 1; i < n; i++)
        y = y * x + c[i];
    return y;
}

/* exp(x**2) * erfc(x): by erf itself, and from 0.46875 on by W. J. Cody's quotients, Mathematics of
   Computation 23 (1969). */
static inline double erfcx_double(double x)
{
    if (x < 0.46875)
        return exp_double(x * x) * (1.0 - erf_double(x));
    if (x <= 4.0)
        return horner_double(erfcx_middle_p, 9, x) / horner_double(erfcx_middle_q, 9, x);
    double t = 1.0 / (x * x);
    double rest = t * horner_double(erfcx_far_p, 6, t) / horner_double(erfcx_far_q, 6, t);
    return (0.5641895835477563 - rest) / x;
}

/* log(ndtr(x)), below 0 as log(erfcx(-x / sqrt(2)) / 2) - x**2 / 2. */
static inline double log_ndtr_double(double x)
{
    if (x == -INFINITY)
        return x;
    if (x < 0.0)
        return log_double(0.5 * erfcx_double(x * -0.7071067811865476)) - 0.5 * x * x;
    return log1p_double(-0.5 * erfc_double(x * 0.7071067811865476));
}

/* The normal quantile of p, given p - 1/2 and min(p, 1 - p): M. J. Wichura, Algorithm AS 241,
   Applied Statistics 37 (1988). */
static inline double normal_quantile_double(double centred, double tail)
{
    if (fabs(centred) <= 0.425) {
        double r = 0.180625 - centred * centred;
        double above = horner_double(quantile_centre_p, 8, r);
        return centred * above / horner_double(quantile_centre_q, 8, r);
    }
    double r = sqrt(-log_double(tail)), y;
    if (tail == 0.0)
        y = INFINITY;
    else if (r <= 5.0)
        y = horner_double(quantile_tail_p, 8, r - 1.6) / horner_double(quantile_tail_q, 8, r - 1.6);
    else
        y = horner_double(quantile_end_p, 8, r - 5.0) / horner_double(quantile_end_q, 8, r - 5.0);
    return copysign(y, centred);
}

/* The inverse of ndtr. */
static inline double ndtri_double(double x)
{
    return normal_quantile_double(x - 0.5, x < 0.5 ? x : 1.0 - x);
}

/* The inverse of erf. */
static inline double erfinv_double(double x)
{
    return normal_quantile_double(0.5 * x, 0.5 * (1.0 - fabs(x))) / 1.4142135623730951;
}

/* log(x / (1 - x)), near 1/2 as 2 * arctanh(2 * x - 1). */
static inline double logit_double(double x)
{
    return fabs(x - 0.5) < 0.25 ? 2.0 * atanh(2.0 * x - 1.0) : log_double(x / (1.0 - x));
}

/* log(Gamma(x)) for x > 0: from 10 on by Stirling's series (NIST Handbook, 2010, 5.11.1), below by
   Gamma(x + 1) = x * Gamma(x) and the power series at 1 and 2 (5.7.3). */
static inline double gammaln_of_positive_double(double x)
{
    if (!(x < 10.0)) {
        double t = 1.0 / (x * x), series = horner_double(gammaln_stirling, 9, t) / x;
        return (x - 0.5) * (log_double(x) - 1.0) + (0.9189385332046727 - 0.5) + series;
    }
    double factor = 1.0, y = x;
    while (y > 2.5) {
        y -= 1.0;
        factor *= y;
    }
    double z = y < 0.5 ? y : y < 1.5 ? y - 1.0 : y - 2.0;
    double near = horner_double(gammaln_at_2, 28, z) + log_double(factor);
    near -= y < 1.5 ? log1p_double(z) : 0.0;
    return y < 0.5 ? near - log_double(y) : near;
}

/* log|Gamma(x)|, at negative x by reflection (NIST Handbook, 2010, 5.5.3). */
static inline double gammaln_double(double x)
{
    if (isinf(x))
        return INFINITY;
    if (!(x <= 0.0))
        return gammaln_of_positive_double(x < 1e-320 ? 1e-320 : x);
    double sine = fabs(sin(3.141592653589793 * (x - rint(x))));
    return 1.1447298858494002 - log_double(sine) - gammaln_of_positive_double(1.0 - x);
}

/* last! / (first - 1)!, the product of first to last. */
static inline double product_double(int first, int last)
{
    double y = 1.0;
    for (int i = first; i <= last; i++)
        y *= i;
    return y;
}

/* The n-th derivative of digamma at x > 0: steps up to 10 + n, there Stirling's series (NIST
   Handbook, 2010, 5.11.2 and 5.15.8). */
static inline double polygamma_of_positive_double(int n, double x)
{
    double sign = n % 2 ? 1.0 : -1.0, steps = 0.0, y = x;
    for (int i = 0; i < 10 + n && y < 10.0 + n; i++) {
        steps += pow(y, -n - 1.0);
        y += 1.0;
    }
    double t = 1.0 / (y * y), power = pow(y, -(double)n), series = 0.0;
    for (int k = 11; k >= 1; k--) {
        double factor = n ? product_double(2 * k + 1, 2 * k + n - 1) : 1.0 / (2 * k);
        series = series * t + bernoulli_numbers[k - 1] * factor;
    }
    double first = n ? sign * product_double(1, n - 1) * power : log_double(y);
    double half = sign * product_double(1, n) * 0.5 * pow(y, -n - 1.0);
    return first + half + sign * series * t * power + sign * product_double(1, n) * steps;
}

/* The n-th derivative of pi * cot(pi * x): a polynomial in c = cot, as c' = -(1 + c**2). */
static inline double cotangent_derivative_double(int n, double x)
{
    double p[180] = {0.0, 1.0}, c = 1.0 / tan(3.141592653589793 * (x - rint(x))), y = 0.0;
    for (int step = 0; step < n; step++) {
        double d[180] = {0.0};
        for (int i = 1; i <= step + 1; i++) {
            d[i - 1] -= i * p[i];
            d[i + 1] -= i * p[i];
        }
        memcpy(p, d, sizeof p);
    }
    for (int i = n + 1; i >= 0; i--)
        y = p[i] + y * c;
    return pow(3.141592653589793, n + 1) * y;
}

/* The n-th derivative of digamma, n = 0 ... 171, at x <= 0 by reflection (NIST Handbook, 2010,
   5.15.6). At 0 and the negative integers are poles; digamma's have two signs, and at 0 the one of
   +0. */
static inline double polygamma_double(double x, int n)
{
    double sign = n % 2 ? 1.0 : -1.0;
    if (!(x <= 0.0))
        return polygamma_of_positive_double(n, x);
    if (x == rint(x))
        return n == 0 && x < 0.0 ? NAN : sign * INFINITY;
    return -sign * polygamma_of_positive_double(n, 1.0 - x) - cotangent_derivative_double(n, x);
}

/* The n-th derivative of digamma, computed as double. */
static inline float polygamma_float(float x, int n)
{
    return (float)polygamma_double((double)x, n);
}

/* The derivative of gammaln. */
static inline double digamma_double(double x)
{
    return polygamma_double(x, 0);
}

/* for F in log2, log10, sinh, cosh, arctan, arcsin, arccos, cbrt, erfc, ndtr */
/* F of a float, computed as double. */
static inline float F_float(float x)
{
    return (float)F_double((double)x);
}

/* for F in erfcx, log_ndtr, ndtri, erfinv, logit, gammaln, digamma */
/* F of a float, computed as double. */
static inline float F_float(float x)
{
    return (float)F_double((double)x);
}

/* for T in float, double */
/* log(exp(x) + exp(y)) = max + log(1 + exp(-|x - y|)), also of two equal infinities. */
static inline T logaddexp_T(T x, T y)
{
    T larger = x > y ? x : y, apart = x > y ? y - x : x - y;
    return x == y ? x + (T)0.6931471805599453 : larger + log1p_T(exp_T(apart));
}

/* for T in float, double */
/* x * log(y), and 0 where x is 0, whatever y is but NaN. */
static inline T xlogy_T(T x, T y)
{
    return x * log_T((x == 0) & (y == y) ? (T)1 : y);
}

/* for T in float, double */
/* x * log(1 + y), and 0 where x is 0, whatever y is but NaN. */
static inline T xlog1py_T(T x, T y)
{
    return x * log1p_T((x == 0) & (y == y) ? (T)0 : y);
}

/* The C library's, under NumPy's name and the type's. */

/* for F in sqrt, floor, ceil, trunc, rint; T in float, double */
/* C's F. */
static inline T F_T(T x)
{
    return F_libm(x);
}

/* for F in copysign, hypot, fmod; T in float, double */
/* C's F. */
static inline T F_T(T x, T y)
{
    return F_libm(x, y);
}

/* for T in float, double */
/* |x|. */
static inline T absolute_T(T x)
{
    return fabs_libm(x);
}

/* for T in float, double */
/* arsinh(x). */
static inline T arcsinh_T(T x)
{
    return asinh_libm(x);
}

/* for T in float, double */
/* arcosh(x). */
static inline T arccosh_T(T x)
{
    return acosh_libm(x);
}

/* for T in float, double */
/* artanh(x). */
static inline T arctanh_T(T x)
{
    return atanh_libm(x);
}

/* for T in float, double */
/* The angle of the point (x, y). */
static inline T arctan2_T(T y, T x)
{
    return atan2_libm(y, x);
}

/* for T in float, double */
/* x**y. */
static inline T power_T(T x, T y)
{
    return pow_libm(x, y);
}

/* What NumPy means by these names. Integers wrap around, as they do in NumPy: computed as unsigned.
   */

/* for T in float, double */
/* 1, 0 or -1, and NaN of NaN. */
static inline T sign_T(T x)
{
    return x > 0 ? (T)1 : x < 0 ? (T)-1 : x == 0 ? (T)0 : x;
}

/* for T in int8_t, int16_t, int32_t, int64_t */
/* 1, 0 or -1. */
static inline T sign_T(T x)
{
    return (T)((x > 0) - (x < 0));
}

/* for T in uint8_t, uint16_t, uint32_t, uint64_t */
/* 1, or 0 of 0. */
static inline T sign_T(T x)
{
    return x > 0;
}

/* for T in float, double */
/* The larger one; NaN where one is NaN. */
static inline T maximum_T(T x, T y)
{
    return x >= y ? x : x != x ? x : y;
}

/* for T in float, double */
/* The smaller one; NaN where one is NaN. */
static inline T minimum_T(T x, T y)
{
    return x <= y ? x : x != x ? x : y;
}

/* for T in bool, int8_t, int16_t, int32_t, int64_t,
   uint8_t, uint16_t, uint32_t, uint64_t */
/* The larger one. */
static inline T maximum_T(T x, T y)
{
    return x > y ? x : y;
}

/* for T in bool, int8_t, int16_t, int32_t, int64_t,
   uint8_t, uint16_t, uint32_t, uint64_t */
/* The smaller one. */
static inline T minimum_T(T x, T y)
{
    return x < y ? x : y;
}

/* for T in bool, int8_t, int16_t, int32_t, int64_t,
   uint8_t, uint16_t, uint32_t, uint64_t, float, double */
/* min(max(x, low), high), in NumPy's order: high where low > high. */
static inline T clip_T(T x, T low, T high)
{
    return minimum_T(maximum_T(x, low), high);
}

/* for T in bool, int8_t, int16_t, int32_t, int64_t,
   uint8_t, uint16_t, uint32_t, uint64_t, float, double */
/* Whether x counts as true: NaN does. */
static inline bool logical_T(T x)
{
    return x != 0;
}

/* for T in int8_t, int16_t, int32_t, int64_t,
   uint8_t, uint16_t, uint32_t, uint64_t */
/* x + y, which wraps around. */
static inline T add_T(T x, T y)
{
    return (T)((uint64_t)x + (uint64_t)y);
}

/* for T in int8_t, int16_t, int32_t, int64_t,
   uint8_t, uint16_t, uint32_t, uint64_t */
/* x - y, which wraps around. */
static inline T subtract_T(T x, T y)
{
    return (T)((uint64_t)x - (uint64_t)y);
}

/* for T in int8_t, int16_t, int32_t, int64_t,
   uint8_t, uint16_t, uint32_t, uint64_t */
/* x * y, which wraps around. */
static inline T multiply_T(T x, T y)
{
    return (T)((uint64_t)x * (uint64_t)y);
}

/* for T in int8_t, int16_t, int32_t, int64_t,
   uint8_t, uint16_t, uint32_t, uint64_t */
/* -x, which wraps around. */
static inline T negative_T(T x)
{
    return (T)(0 - (uint64_t)x);
}

/* for T in int8_t, int16_t, int32_t, int64_t,
   uint8_t, uint16_t, uint32_t, uint64_t */
/* x * x, which wraps around. */
static inline T square_T(T x)
{
    return multiply_T(x, x);
}

/* for T in int8_t, int16_t, int32_t, int64_t */
/* |x|, and the smallest integer of itself. */
static inline T absolute_T(T x)
{
    return x < 0 ? negative_T(x) : x;
}

/* for T in int8_t, int16_t, int32_t, int64_t,
   uint8_t, uint16_t, uint32_t, uint64_t */
/* x**n by repeated squaring, which wraps around; 1 for n < 0, which NumPy refuses. */
static inline T power_T(T x, T n)
{
    T y = 1;
    for (; n > 0; n = (T)(n / 2)) {
        y = n % 2 ? multiply_T(y, x) : y;
        x = multiply_T(x, x);
    }
    return y;
}

/* for T in int8_t, int16_t, int32_t, int64_t */
/* floor(x / y); 0 where y is 0, and the smallest integer over -1 is itself. */
static inline T floor_divide_T(T x, T y)
{
    if (y == 0)
        return 0;
    if (y == -1)
        return negative_T(x);
    return (T)(x / y - ((x % y != 0) & ((x < 0) != (y < 0))));
}

/* for T in int8_t, int16_t, int32_t, int64_t */
/* x - y * floor(x / y), with the sign of y; 0 where y is 0. */
static inline T remainder_T(T x, T y)
{
    if (y == 0 || y == -1)
        return 0;
    T rest = (T)(x % y);
    return rest != 0 && (rest < 0) != (y < 0) ? (T)(rest + y) : rest;
}

/* for T in uint8_t, uint16_t, uint32_t, uint64_t */
/* floor(x / y); 0 where y is 0. */
static inline T floor_divide_T(T x, T y)
{
    return y == 0 ? 0 : (T)(x / y);
}

/* for T in uint8_t, uint16_t, uint32_t, uint64_t */
/* x - y * floor(x / y); 0 where y is 0. */
static inline T remainder_T(T x, T y)
{
    return y == 0 ? 0 : (T)(x % y);
}

/* for T in float, double */
/* x - y * floor(x / y), with the sign of y; from the exact remainder that has the sign of x. */
static inline T remainder_T(T x, T y)
{
    T rest = fmod_libm(x, y);
    if (y == 0)
        return rest;
    if (rest == 0)
        return copysign_libm(0, y);
    return (rest < 0) != (y < 0) ? rest + y : rest;
}

/* for T in float, double */
/* floor(x / y), so that it and the remainder make up x; x / y where y is 0. */
static inline T floor_divide_T(T x, T y)
{
    T rest = fmod_libm(x, y);
    if (y == 0)
        return x / y;
    T quotient = (x - rest) / y;
    quotient -= rest != 0 && (rest < 0) != (y < 0) ? (T)1 : (T)0;
    if (quotient == 0)
        return copysign_libm(0, x / y);
    T whole = floor_libm(quotient);
    return quotient - whole > (T)0.5 ? whole + (T)1 : whole;
}

/* for S in float, double; T in int8_t, int16_t, int32_t, uint8_t, uint16_t */
/* The whole part of x as an integer; what no int32_t holds becomes its smallest, as on x86-64, of
   which T takes the lower bits. */
static inline T convert_S_to_T(S x)
{
    return (T)((x >= (S)-2147483648.0) & (x < (S)2147483648.0) ? (int32_t)x : INT32_MIN);
}

/* for S in float, double; T in int64_t, uint32_t */
/* The whole part of x as an integer; what no int64_t holds becomes its smallest, as on x86-64, of
   which T takes the lower bits. */
static inline T convert_S_to_T(S x)
{
    S limit = (S)9223372036854775808.0;
    return (T)((x >= -limit) & (x < limit) ? (int64_t)x : INT64_MIN);
}

/* for S in float, double */
/* The whole part of x as an unsigned integer, from 2**63 on by its distance from there. */
static inline uint64_t convert_S_to_uint64_t(S x)
{
    S limit = (S)9223372036854775808.0;
    uint64_t i = (uint64_t)convert_S_to_int64_t(x >= limit ? x - limit : x);
    return x >= limit ? i ^ 0x8000000000000000u : i;
}

/* for T in float, double */
/* np.round: to a number of decimals, halves to even. */
static inline T round_T(T x, int decimals)
{
    T power = (T)pow(10.0, decimals < 0 ? -decimals : decimals);
    if (decimals == 0)
        return rint_libm(x);
    return decimals > 0 ? rint_libm(x * power) / power : rint_libm(x / power) * power;
}

/* for T in int8_t, int16_t, int32_t, int64_t,
   uint8_t, uint16_t, uint32_t, uint64_t */
/* np.round: to tens, hundreds, ... for decimals -1, -2, ..., computed as double. */
static inline T round_T(T x, int decimals)
{
    double power = pow(10.0, -decimals);
    return decimals >= 0 ? x : convert_double_to_T(rint((double)x / power) * power);
}
