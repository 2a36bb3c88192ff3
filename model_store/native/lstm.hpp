// Inference of the LSTM: its weights as plain arrays, one game after the other.
//
// A game's steps depend on each other, and a step of 32 units is too little work for a library's general operators: the
// weights stay in the first-level cache, the gates of a step in registers.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace dejavu {

constexpr int CHANNELS = 5;   // input features per minute, see features.py
constexpr int HORIZONS = 2;
constexpr int TOGETHER = 8;   // units whose products are summed at a time

// One network, with its matrices transposed so that neighbouring gates are neighbours in memory.
struct LstmNetwork {
    int hidden = 0;               // units, padded with zeros to a multiple of TOGETHER
    std::vector<float> input;     // (CHANNELS, 4 × hidden): gates i, o, f, c
    std::vector<float> recurrent; // (hidden, 4 × hidden)
    std::vector<float> bias;      // (4 × hidden)
    std::vector<float> head;      // (HORIZONS, hidden)
    float head_bias[HORIZONS] = {};
    std::vector<float> spreads;   // (minutes, HORIZONS)
};

// Adds the outputs of a network after each minute, (minutes, HORIZONS) in points, to `sums`.
void add_outputs(const LstmNetwork &network, const float *steps, int minutes, float *sums);

// The mean of several networks.
class Networks {
public:
    explicit Networks(std::vector<LstmNetwork> members) : members_(std::move(members)) {}

    // Most minutes that they know; -1 without networks.
    int longest() const;

    // Writes the outputs after each minute, (minutes, HORIZONS) in points, for steps (minutes, CHANNELS).
    void run(const float *steps, int minutes, float *result) const;

private:
    std::vector<LstmNetwork> members_;
};

}  // namespace dejavu
