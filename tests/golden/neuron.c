/*
 * value_and_grad_neuron, written by chainrule for NumPy 2. Regenerate:
 * chainrule.compile(value_and_grad_neuron).
 */

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#ifdef __GNUC__
#define EXPORT __attribute__((visibility("default")))
#else
#define EXPORT
#endif

/* (exp(r) - 1 - r) / r**2, |r| <= ln(2) / 2: minimax, error 2**-55.5 of the result */
static const double exp_coefficients_double[10] = {
    0.5000000000000006, 0.16666666666666582, 0.04166666666656943, 0.008333333333394161,
    0.0013888888934152778, 0.00019841269711534266, 2.4801501986563376e-05, 2.755741113625279e-06,
    2.762740260234029e-07, 2.5053790513903674e-08,
};

/* The bits of a double as an integer. */
static inline uint64_t bits_double(double x)
{
    uint64_t i;
    memcpy(&i, &x, sizeof i);
    return i;
}

/* The double of these bits. */
static inline double from_bits_double(uint64_t i)
{
    double x;
    memcpy(&x, &i, sizeof x);
    return x;
}

/* The nearest integer, |x| < 2**51: beside 1.5 * 2**52 there is no room for a fraction. */
static inline double nearest_double(double x)
{
    return (x + 6755399441055744.0) - 6755399441055744.0;
}

/* 2**n for an integer -1023 <= n <= 1024, 0 and inf at the ends: n + 1023 put into the exponent. */
static inline double power_of_2_double(double n)
{
    return from_bits_double(bits_double(n + (6755399441055744.0 + 1023.0)) << 52);
}

/* c[0] + ... + c[3] * x**3. */
static inline double polynomial_4_double(const double *c, double x)
{
    return (c[0] + c[1] * x) + (c[2] + c[3] * x) * (x * x);
}

/* c[0] + ... + c[5] * x**5. */
static inline double polynomial_6_double(const double *c, double x)
{
    double x_2 = x * x;
    return (c[0] + c[1] * x) + ((c[2] + c[3] * x) + (c[4] + c[5] * x) * x_2) * x_2;
}

/* c[0] + ... + c[9] * x**9. */
static inline double polynomial_10_double(const double *c, double x)
{
    double x_2 = x * x;
    return polynomial_4_double(c, x) + polynomial_6_double(c + 4, x) * (x_2 * x_2);
}

/* x - n * ln(2), of which the first part of ln(2) times n is exact. */
static inline double minus_n_ln2_double(double x, double n)
{
    return (x - n * 0x1.62e42fefa38p-1) - n * 0x1.ef35793c7673p-45;
}

/* exp(r) - 1, |r| <= ln(2) / 2. */
static inline double expm1_near_0_double(double r)
{
    return r + r * r * polynomial_10_double(exp_coefficients_double, r);
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

/* what value_and_grad_neuron works on; the caller owns it */
struct value_and_grad_neuron {
    const double *W;  /* (2, 3), input */
    const double *x;  /* (3,), input */
    const double *b;  /* (2,), input */
    double *d_b;  /* (2,) */
    double *total;  /* one number */
    double *d_W;  /* (2, 3) */
    double *matmul_1;  /* (3, 1) */
};

/* matmul */
static void matmul_2(const double *restrict x, const double *restrict y, double *restrict out)
{
    /* (2, 3) @ (3, 1) */
    for (long i = 0; i < 2; i++) {
        double total = 0;
        #pragma omp simd reduction(+ : total)
        for (long p = 0; p < 3; p++)
            total += x[3 * i + p] * y[p];
        out[i] = total;
    }
}

/* matmul */
static void matmul_4(const double *restrict x, const double *restrict y, double *restrict out)
{
    /* (2, 1) @ (1, 3) */
    for (long i = 0; i < 2; i++) {
        for (long j = 0; j < 3; j++)
            out[3 * i + j] = x[i] * y[j];
    }
}

/* matmul */
static void matmul_5(const double *restrict x, const double *restrict y, double *restrict out)
{
    /* (3, 2) @ (2, 1) */
    for (long i = 0; i < 3; i++) {
        double total = 0;
        #pragma omp simd reduction(+ : total)
        for (long p = 0; p < 2; p++)
            total += x[i + 3 * p] * y[p];
        out[i] = total;
    }
}

/* returns what the function returns; 0, or 1 where NumPy would raise */
EXPORT int value_and_grad_neuron(struct value_and_grad_neuron *own)
{
    const double *restrict W = own->W;
    const double *restrict x = own->x;
    const double *restrict b = own->b;
    double *restrict d_b = own->d_b;
    double *restrict total = own->total;
    double *restrict d_W = own->d_W;
    double *restrict matmul_1 = own->matmul_1;

    /* forward */
    /* matmul_3 = W @ x   (2,) */
    matmul_2(W, x, d_b);
    /* sigmoid_1 = sigmoid(matmul_3 + b)   (2,) */
    /* total = sum(sigmoid_1) */
    {
        double total_2 = 0.0;
        #pragma omp simd reduction(+ : total_2)
        for (long i = 0; i < 2; i++) {
            const double matmul = d_b[i];
            const double sigmoid = 0.5 * tanh_double(0.5 * (matmul + b[i])) + 0.5;
            d_b[i] = sigmoid;
            total_2 += sigmoid;
        }
        total[0] = total_2;
    }

    /* backward: d_v is the derivative of the loss by v */
    /* d_b = sigmoid_1 * (1 - sigmoid_1)   (2,) */
    #pragma omp simd
    for (long i = 0; i < 2; i++) {
        const double sigmoid_2 = d_b[i];
        d_b[i] = sigmoid_2 * (1.0 - sigmoid_2);
    }
    /* d_W = d_b[..., None] @ x[None, :]   (2, 3) */
    matmul_4(d_b, x, d_W);
    /* matmul_1 = W.T @ d_b[..., None]   (3, 1) */
    matmul_5(W, d_b, matmul_1);
    return 0;
}

#ifndef LIBRARY
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    static struct value_and_grad_neuron own;
    {
        double *filled = calloc(6, sizeof(double));
        for (long i = 0; i < 6; i++)
            filled[i] = (double)(0.1 * rand() / RAND_MAX);
        own.W = filled;
    }
    {
        double *filled = calloc(3, sizeof(double));
        for (long i = 0; i < 3; i++)
            filled[i] = (double)(0.1 * rand() / RAND_MAX);
        own.x = filled;
    }
    {
        double *filled = calloc(2, sizeof(double));
        for (long i = 0; i < 2; i++)
            filled[i] = (double)(0.1 * rand() / RAND_MAX);
        own.b = filled;
    }
    own.d_b = calloc(2, sizeof(double));
    own.total = calloc(1, sizeof(double));
    own.d_W = calloc(6, sizeof(double));
    own.matmul_1 = calloc(3, sizeof(double));
    const int status = value_and_grad_neuron(&own);
    printf("value_and_grad_neuron on random data returned %g\n", (double)own.total[0]);
    return status;
}
#endif
