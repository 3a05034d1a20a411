/*
 * Training step of Network(2-3-1, tanh): batch 4, float32, mean squared error,
 * SGD(learning_rate=0.1, momentum=0.9).
 *
 * Written by chainrule 0.1.0 for NumPy 2. Regenerate: net.step.source.
 * Run this file for one step on random data.
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

/* (exp(r) - 1 - r) / r**2, |r| <= ln(2) / 2: minimax, error 2**-31.9 of the result */
static const float exp_coefficients_float[6] = {
    5.0e-01f, 1.6666666e-01f, 4.1666348e-02f, 8.3333915e-03f, 1.394165e-03f, 1.9845934e-04f,
};

/* (tanh(x) - x) / x**3 in x**2, |x| <= 0.55: minimax, error 2**-29.6 of the result */
static const float tanh_coefficients_float[5] = {
    -3.3333316e-01f, 1.33325e-01f, -5.3842288e-02f, 2.1027258e-02f, -6.20748e-03f,
};

/* The bits of a float as an integer. */
static inline uint32_t bits_float(float x)
{
    uint32_t i;
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

/* The nearest integer, |x| < 2**22: beside 1.5 * 2**23 there is no room for a fraction. */
static inline float nearest_float(float x)
{
    return (x + 12582912.0f) - 12582912.0f;
}

/* 2**n for an integer -127 <= n <= 128, 0 and inf at the ends: n + 127 put into the exponent. */
static inline float power_of_2_float(float n)
{
    return from_bits_float(bits_float(n + (12582912.0f + 127.0f)) << 23);
}

/* c[0] + ... + c[4] * x**4. */
static inline float polynomial_5_float(const float *c, float x)
{
    float x_2 = x * x;
    return (c[0] + c[1] * x) + ((c[2] + c[3] * x) + c[4] * x_2) * x_2;
}

/* c[0] + ... + c[5] * x**5. */
static inline float polynomial_6_float(const float *c, float x)
{
    float x_2 = x * x;
    return (c[0] + c[1] * x) + ((c[2] + c[3] * x) + (c[4] + c[5] * x) * x_2) * x_2;
}

/* x - n * ln(2), of which the first part of ln(2) times n is exact. */
static inline float minus_n_ln2_float(float x, float n)
{
    return (x - n * 0.693359375f) + n * 2.1219444e-4f;
}

/* exp(r) - 1, |r| <= ln(2) / 2. */
static inline float expm1_near_0_float(float r)
{
    return r + r * r * polynomial_6_float(exp_coefficients_float, r);
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

/* a random generator, as NumPy's bit generators show theirs to C */
struct generator {
    void *state;
    uint64_t (*next_uint64)(void *);
    uint32_t (*next_uint32)(void *);
    double (*next_double)(void *);
    uint64_t (*next_raw)(void *);
};

/* what train_step works on; the caller owns it */
struct train_step {
    double learning_rate;
    const float *x;  /* (4, 2), input */
    const float *y;  /* (4, 1), input */
    float *parameters;  /* (13,), state */
    float *velocity;  /* (13,), state */
    float *gradient;  /* (13,) */
    float *a1;  /* (4, 3) */
    float *z2;  /* (4, 1) */
    float *a2;  /* (4, 1) */
    float *residuals;  /* (4, 1) */
    float *loss;  /* one number */
    float *d_z2;  /* (4, 1) */
    float *d_a1;  /* (4, 3) */
    float *d_z1;  /* (4, 3) */
};

/* matmul */
static void matmul_1(const float *restrict x, const float *restrict y, float *restrict out)
{
    /* (4, 2) @ (2, 3) */
    for (long i = 0; i < 4; i++) {
        float row[3];
        for (long j = 0; j < 3; j++)
            row[j] = 0;
        for (long p = 0; p < 2; p++) {
            const float factor = x[2 * i + p];
            #pragma omp simd
            for (long j = 0; j < 3; j++)
                row[j] += factor * y[3 * p + j];
        }
        for (long j = 0; j < 3; j++)
            out[3 * i + j] = row[j];
    }
}

/* matmul */
static void matmul_3(const float *restrict x, const float *restrict y, float *restrict out)
{
    /* (4, 3) @ (3, 1) */
    for (long i = 0; i < 4; i++) {
        float total = 0;
        #pragma omp simd reduction(+ : total)
        for (long p = 0; p < 3; p++)
            total += x[3 * i + p] * y[p];
        out[i] = total;
    }
}

/* matmul */
static void matmul_5(const float *restrict x, const float *restrict y, float *restrict out)
{
    /* (4, 1) @ (1, 3) */
    for (long i = 0; i < 4; i++) {
        #pragma omp simd
        for (long j = 0; j < 3; j++)
            out[3 * i + j] = x[i] * y[j];
    }
}

/* matmul */
static void matmul_6(const float *restrict x, const float *restrict y, float *restrict out)
{
    /* (3, 4) @ (4, 1) */
    for (long i = 0; i < 3; i++) {
        float total = 0;
        #pragma omp simd reduction(+ : total)
        for (long p = 0; p < 4; p++)
            total += x[i + 3 * p] * y[p];
        out[i] = total;
    }
}

/* matmul */
static void matmul_7(const float *restrict x, const float *restrict y, float *restrict out)
{
    /* (2, 4) @ (4, 3) */
    for (long i = 0; i < 2; i++) {
        float row[3];
        for (long j = 0; j < 3; j++)
            row[j] = 0;
        for (long p = 0; p < 4; p++) {
            const float factor = x[i + 2 * p];
            #pragma omp simd
            for (long j = 0; j < 3; j++)
                row[j] += factor * y[3 * p + j];
        }
        for (long j = 0; j < 3; j++)
            out[3 * i + j] = row[j];
    }
}

/* updates the parameters in place, returns the loss and the outputs before the update; 0, or 1
   where NumPy would raise */
EXPORT int train_step(struct train_step *own)
{
    const double learning_rate = own->learning_rate;
    const float *restrict x = own->x;
    const float *restrict y = own->y;
    float *restrict parameters = own->parameters;
    float *restrict velocity = own->velocity;
    float *restrict gradient = own->gradient;
    float *restrict a1 = own->a1;
    float *restrict z2 = own->z2;
    float *restrict a2 = own->a2;
    float *restrict residuals = own->residuals;
    float *restrict loss = own->loss;
    float *restrict d_z2 = own->d_z2;
    float *restrict d_a1 = own->d_a1;
    float *restrict d_z1 = own->d_z1;
    const double scale = learning_rate * 0.5;
    float *W1 = parameters;
    float *b1 = parameters + 6;
    float *W2 = parameters + 9;
    float *b2 = parameters + 12;
    float *d_W1 = gradient;
    float *d_b1 = gradient + 6;
    float *d_W2 = gradient + 9;
    float *d_b2 = gradient + 12;

    /* forward */
    /* matmul_2 = x @ W1   (4, 3), dense_1 */
    matmul_1(x, W1, a1);
    /* a1 = tanh(matmul_2 + b1)   (4, 3), tanh_1 */
    for (long i = 0; i < 4; i++) {
        #pragma omp simd
        for (long j = 0; j < 3; j++) {
            const float matmul = a1[3 * i + j];
            a1[3 * i + j] = tanh_float(matmul + b1[j]);
        }
    }
    /* matmul_4 = a1 @ W2   (4, 1), dense_2 */
    matmul_3(a1, W2, z2);
    /* a2 = tanh(matmul_4 + b2)   (4, 1), tanh_2 */
    /* residuals = a2 - y   (4, 1), loss */
    /* total = sum(residuals**2)   loss */
    {
        float total_2 = 0.0f;
        #pragma omp simd reduction(+ : total_2)
        for (long i = 0; i < 4; i++) {
            const float a2_2 = tanh_float(z2[i] + b2[0]);
            a2[i] = a2_2;
            const float residuals_2 = a2_2 - y[i];
            residuals[i] = residuals_2;
            total_2 += residuals_2 * residuals_2;
        }
        loss[0] = total_2;
    }
    /* loss = total / 4   loss */
    {
        const float total_3 = loss[0];
        loss[0] = total_3 / 4.0f;
    }

    /* backward: d_v is the derivative of the loss by v, times learning_rate */
    /* d_z2 = scale * residuals * (1 - a2**2)   (4, 1) */
    /* d_b2 = sum(d_z2, axis=0)   (1,) */
    {
        float d_b2_2 = 0.0f;
        #pragma omp simd reduction(+ : d_b2_2)
        for (long i = 0; i < 4; i++) {
            const float square = a2[i];
            const float d_z2_2 = (float)scale * residuals[i] * (1.0f - square * square);
            d_z2[i] = d_z2_2;
            d_b2_2 += d_z2_2;
        }
        d_b2[0] = d_b2_2;
    }
    /* d_a1 = d_z2 @ W2.T   (4, 3) */
    matmul_5(d_z2, W2, d_a1);
    /* d_W2 = a1.T @ d_z2   (3, 1) */
    matmul_6(a1, d_z2, d_W2);
    /* d_z1 = d_a1 * (1 - a1**2)   (4, 3) */
    /* d_b1 = sum(d_z1, axis=0)   (3,) */
    for (long i = 0; i < 3; i++)
        d_b1[i] = 0.0f;
    for (long i = 0; i < 4; i++) {
        #pragma omp simd
        for (long j = 0; j < 3; j++) {
            const float square_2 = a1[3 * i + j];
            const float d_z1_2 = d_a1[3 * i + j] * (1.0f - square_2 * square_2);
            d_z1[3 * i + j] = d_z1_2;
            d_b1[j] += d_z1_2;
        }
    }
    /* d_W1 = x.T @ d_z1   (2, 3) */
    matmul_7(x, d_z1, d_W1);

    /* update */
    /* velocity = 0.9 * velocity - gradient   (13,) */
    /* parameters = parameters + velocity   (13,) */
    #pragma omp simd
    for (long i = 0; i < 13; i++) {
        const float velocity_2 = velocity[i];
        const float subtract = 0.9f * velocity_2 - gradient[i];
        velocity[i] = subtract;
        const float parameters_2 = parameters[i];
        parameters[i] = parameters_2 + subtract;
    }
    return 0;
}

/* the batches of an epoch, and where their results are put */
struct train_step_many {
    const float *x;  /* all samples */
    const float *y;  /* all samples */
    float *x_rows;  /* those of a batch */
    float *y_rows;  /* those of a batch */
    const int64_t *order;  /* of the samples; NULL: as they stand */
    const double *rates;  /* the learning rate of each batch */
    double *losses;  /* of each batch */
    float *outputs;  /* of all samples; NULL: nobody wants them */
    int64_t batch_size;  /* of all batches but the last one */
    int64_t first_step;
    int64_t begin;  /* the first batch to take */
    int64_t end;  /* the first one not to take */
};

/* train_step for one batch after the other; gives the first that was not taken */
EXPORT int64_t train_step_many(struct train_step *own, const struct train_step_many *many)
{
    for (int64_t batch = many->begin; batch < many->end; batch++) {
        const int64_t first = batch * many->batch_size;
        if (many->order) {
            for (int64_t i = 0; i < 4; i++) {
                const int64_t row = many->order[first + i];
                memcpy(many->x_rows + 2 * i, many->x + 2 * row, 2 * sizeof(float));
                many->y_rows[i] = many->y[row];
            }
            own->x = many->x_rows;
            own->y = many->y_rows;
        } else {
            own->x = many->x + 2 * first;
            own->y = many->y + first;
        }
        own->learning_rate = many->rates[batch];
        if (train_step(own))
            return batch;
        many->losses[batch] = own->loss[0];
        if (many->outputs)
            memcpy(many->outputs + 1 * first, own->a2,
                   4 * sizeof(float));
    }
    return many->end;
}

/* a number from 0 to most, each as likely as the others: bits are drawn until they make one */
static uint32_t train_step_up_to(struct generator *generator, uint32_t most)
{
    uint32_t mask = most;
    for (int shift = 1; shift < 32; shift *= 2)
        mask |= mask >> shift;
    uint32_t value;
    do
        value = generator->next_uint32(generator->state) & mask;
    while (value > most);
    return value;
}

/* 0 to n - 1 in random order, by Fisher and Yates: numpy.random.Generator.permutation's draws */
EXPORT void train_step_permute(struct generator *generator, int64_t n, int64_t *order)
{
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t j = train_step_up_to(generator, (uint32_t)i);
        const int64_t taken = order[j];
        order[j] = order[i];
        order[i] = taken;
    }
}

/* train_step for all batches of one epoch after the other; gives how many epochs were finite */
EXPORT int64_t train_step_epochs(
    struct train_step *own, struct train_step_many *many, struct generator *generator, int64_t *order,
    int64_t n_samples, int64_t n_epochs)
{
    for (int64_t epoch = 0; epoch < n_epochs; epoch++) {
        if (generator) {
            train_step_permute(generator, n_samples, order);
            many->order = order;
        }
        if (train_step_many(own, many) != many->end)
            return epoch;
        for (int64_t batch = 0; batch < many->end; batch++)
            if (!isfinite(many->losses[batch]))
                return epoch;
        for (int64_t i = 0; i < 13; i++)
            if (!isfinite(own->parameters[i]))
                return epoch;
        many->losses += many->end;
        many->first_step += many->end;
    }
    return n_epochs;
}

#ifndef LIBRARY
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    static struct train_step own;
    own.learning_rate = 1;
    {
        float *filled = calloc(8, sizeof(float));
        for (long i = 0; i < 8; i++)
            filled[i] = (float)(0.1 * rand() / RAND_MAX);
        own.x = filled;
    }
    {
        float *filled = calloc(4, sizeof(float));
        for (long i = 0; i < 4; i++)
            filled[i] = (float)(0.1 * rand() / RAND_MAX);
        own.y = filled;
    }
    {
        float *filled = calloc(13, sizeof(float));
        for (long i = 0; i < 13; i++)
            filled[i] = (float)(0.1 * rand() / RAND_MAX);
        own.parameters = filled;
    }
    {
        float *filled = calloc(13, sizeof(float));
        for (long i = 0; i < 13; i++)
            filled[i] = (float)(0.1 * rand() / RAND_MAX);
        own.velocity = filled;
    }
    own.gradient = calloc(13, sizeof(float));
    own.a1 = calloc(12, sizeof(float));
    own.z2 = calloc(4, sizeof(float));
    own.a2 = calloc(4, sizeof(float));
    own.residuals = calloc(4, sizeof(float));
    own.loss = calloc(1, sizeof(float));
    own.d_z2 = calloc(4, sizeof(float));
    own.d_a1 = calloc(12, sizeof(float));
    own.d_z1 = calloc(12, sizeof(float));
    const int status = train_step(&own);
    printf("train_step on random data returned %g\n", (double)own.loss[0]);
    return status;
}
#endif
