// Inference of the LSTM, one game after the other, with the weights as plain arrays.
//
// A game's steps depend on each other, and one step of 32 units is too little work for a library's general operators.
// This code therefore keeps the weights in the first-level cache and the gates of a step in registers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

namespace dejavu {

constexpr int CHANNELS = 5;   // input features per minute, see features.py
constexpr int HORIZONS = 2;
constexpr int LIVE = 5;       // live inputs of the head, see lstm.py
constexpr int OUTPUTS = 2 * HORIZONS;  // means, then logarithms of scales, by horizon
constexpr float MAX_MEAN = 3.0f, MAX_LOG_SCALE = 1.0f;  // bounds of the outputs, as in lstm.py
constexpr int TOGETHER = 8;   // units whose products are summed at a time

// Allocates at the start of a cache line, so that no SIMD load crosses a cache line.
template <typename Value>
struct Aligned {
    using value_type = Value;
    static constexpr std::align_val_t LINE{64};

    Aligned() = default;
    template <typename Other>
    Aligned(const Aligned<Other> &) {}
    Value *allocate(std::size_t count) { return static_cast<Value *>(::operator new(count * sizeof(Value), LINE)); }
    void deallocate(Value *values, std::size_t) { ::operator delete(values, LINE); }
    friend bool operator==(const Aligned &, const Aligned &) { return true; }
    friend bool operator!=(const Aligned &, const Aligned &) { return false; }
};

using Floats = std::vector<float, Aligned<float>>;

// One network, with its matrices transposed so that neighbouring gates are neighbours in memory.
struct LstmNetwork {
    int hidden = 0;               // units, padded with zeros to a multiple of TOGETHER
    Floats input;                 // (CHANNELS, 4 × hidden): gates i, o, f, c
    Floats recurrent;             // (hidden, 4 × hidden)
    Floats bias;                  // (4 × hidden)
    Floats head;                  // (OUTPUTS, hidden)
    float head_live[OUTPUTS][LIVE] = {}, head_bias[OUTPUTS] = {};
    std::vector<float> spreads;   // (minutes, HORIZONS), of the means
};

// Adds the network's outputs to the rows `first` to `minutes` − 1 of `sums`, (minutes, OUTPUTS); row i is the output at
// the end of the (i + 1)-th minute. `live` are the inputs of the head in the rows from `first` on, (…, LIVE).
void add_outputs(const LstmNetwork &network, const float *steps, const float *live, int minutes, int first, float *sums);

// The mean of several networks.
class Networks {
public:
    explicit Networks(std::vector<LstmNetwork> members) : members_(std::move(members)) {}

    // The largest number of minutes that all networks support; -1 if there are none.
    int longest() const;

    bool empty() const { return members_.empty(); }

    // Writes the mean outputs for steps, (minutes, CHANNELS), within their bounds, to the rows `first` to `minutes` − 1 of
    // `result`, (minutes, OUTPUTS); 0 if there are no networks. `live` as of `add_outputs`.
    void run(const float *steps, const float *live, int minutes, int first, float *result) const;

private:
    std::vector<LstmNetwork> members_;
};

}  // namespace dejavu
