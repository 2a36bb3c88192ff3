#include "lstm.hpp"

#include <algorithm>

#include "processors.hpp"

// Where all numbers are finite, compilers compute bounds as minima and maxima; otherwise they would branch.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("finite-math-only", "no-signed-zeros")
#endif

namespace dejavu {
namespace {

// e^x to a few units in the last place, without branches, so that compilers vectorise loops over it.
ALWAYS_INLINE float exponential(float x) {
    // Beyond ±40 the activations do not change any more; within it, products of two results stay finite.
    x = x < -40.0f ? -40.0f : x;
    x = x > 40.0f ? 40.0f : x;
    const float rounder = 12582912.0f;  // 1.5 · 2^23: adding it rounds to a whole number
    const float power = (x * 1.44269504f + rounder) - rounder;
    const float rest = (x - power * 0.693145752f) - power * 1.42860677e-6f;  // ln 2 in two parts
    float series = 1.0f / 720;
    series = series * rest + 1.0f / 120;
    series = series * rest + 1.0f / 24;
    series = series * rest + 1.0f / 6;
    series = series * rest + 0.5f;
    series = series * rest + 1.0f;
    series = series * rest + 1.0f;
    const std::int32_t bits = (static_cast<std::int32_t>(power) + 127) << 23;
    float scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return series * scale;
}

ALWAYS_INLINE float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

// sigmoid(gate) · tanh(x), with one division.
ALWAYS_INLINE float gated_tangent(float gate, float x) {
    const float closed = exponential(-gate), power = exponential(2.0f * x);
    return (power - 1.0f) / ((1.0f + closed) * (1.0f + power));
}

}  // namespace

FOR_EACH_PROCESSOR
void add_outputs(const LstmNetwork &network, const float *steps, const float *live, int minutes, int first, float *sums) {
    const int hidden = network.hidden, gates = 4 * hidden;
    thread_local Floats memory;
    memory.assign(6 * static_cast<std::size_t>(hidden), 0.0f);
    float *const __restrict sum = memory.data();
    float *const __restrict cell = memory.data() + gates;
    float *const __restrict state = memory.data() + gates + hidden;
    for (int minute = 0; minute < minutes; ++minute) {
        const float *const step = steps + CHANNELS * minute;
        const float *const of_input = network.input.data(), *const bias = network.bias.data();
        for (int gate = 0; gate < gates; ++gate)
            sum[gate] = bias[gate] + step[0] * of_input[gate] + step[1] * of_input[gates + gate] +
                        step[2] * of_input[2 * gates + gate] + step[3] * of_input[3 * gates + gate] +
                        step[4] * of_input[4 * gates + gate];
        for (int unit = 0; minute > 0 && unit < hidden; unit += TOGETHER) {
            const float *const of_state = &network.recurrent[static_cast<std::size_t>(unit) * gates];
            const float *const values = state + unit;
            for (int gate = 0; gate < gates; ++gate)
                sum[gate] += (values[0] * of_state[gate] + values[1] * of_state[gates + gate] +
                              values[2] * of_state[2 * gates + gate] + values[3] * of_state[3 * gates + gate]) +
                             (values[4] * of_state[4 * gates + gate] + values[5] * of_state[5 * gates + gate] +
                              values[6] * of_state[6 * gates + gate] + values[7] * of_state[7 * gates + gate]);
        }
        for (int unit = 0; unit < hidden; ++unit) {
            const float keep = sigmoid(sum[2 * hidden + unit]);
            cell[unit] = keep * cell[unit] + gated_tangent(sum[unit], sum[3 * hidden + unit]);
            state[unit] = gated_tangent(sum[hidden + unit], cell[unit]);
        }
        for (int output = 0; minute >= first && output < OUTPUTS; ++output) {
            const float *const weights = &network.head[static_cast<std::size_t>(output) * hidden];
            float lanes[TOGETHER] = {};
            for (int unit = 0; unit < hidden; unit += TOGETHER)
                for (int lane = 0; lane < TOGETHER; ++lane) lanes[lane] += state[unit + lane] * weights[unit + lane];
            float sum_of_output = network.head_bias[output];
            for (const float lane : lanes) sum_of_output += lane;
            for (int input = 0; input < LIVE; ++input)
                sum_of_output += live[LIVE * (minute - first) + input] * network.head_live[output][input];
            const float spread = output < HORIZONS ? network.spreads[HORIZONS * minute + output] : 1.0f;
            sums[OUTPUTS * minute + output] += sum_of_output * spread;
        }
    }
}

int Networks::longest() const {
    int result = -1;
    for (const LstmNetwork &each : members_) {
        const int minutes = static_cast<int>(each.spreads.size()) / HORIZONS;
        result = result < 0 || minutes < result ? minutes : result;
    }
    return result;
}

void Networks::run(const float *steps, const float *live, int minutes, int first, float *result) const {
    const int begin = OUTPUTS * first, end = OUTPUTS * minutes;
    for (int place = begin; place < end; ++place) result[place] = 0.0f;
    for (const LstmNetwork &each : members_) add_outputs(each, steps, live, minutes, first, result);
    for (int place = begin; place < end && !members_.empty(); ++place) {
        const float bound = place % OUTPUTS < HORIZONS ? MAX_MEAN : MAX_LOG_SCALE;
        result[place] = std::min(std::max(result[place] / static_cast<float>(members_.size()), -bound), bound);
    }
}

}  // namespace dejavu
