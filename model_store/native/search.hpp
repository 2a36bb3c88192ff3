// Nearest neighbours by Euclidean distance: the search in a graph.
//
// It is that of Malkov & Yashunin (2018), algorithms 2 and 5, but that several vectors are expanded at a
// time: it visits some more vectors than hnswlib, so it finds no fewer of the nearest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace dejavu {

// Squared distance and number of a vector.
using Found = std::pair<float, std::uint32_t>;

// Largest number of vectors in a graph.
constexpr std::size_t MOST_VECTORS = std::size_t{1} << 28;

// Number of spare elements of arrays of vector numbers and distances, since distances are computed four at a time.
constexpr std::size_t SPARE = 3;

struct Scratch;

class Vectors {
public:
    // Copies (count, dimensions); pads the dimensions with zeros to a multiple of four.
    Vectors(const float *values, std::size_t count, int dimensions);

    std::size_t size() const { return count_; }
    int given() const { return given_; }  // dimensions without the padding
    float squared_distance(const float *query, std::uint32_t number) const;

    // Writes the squared distances of some vectors; both arrays have room for SPARE more, which are overwritten.
    void squared_distances(const float *query, std::uint32_t *numbers, std::size_t count, float *distances) const;

    // Returns a query in the padded form, (dimensions), in `memory` if there is anything to pad.
    const float *padded(const float *query, std::vector<float> &memory) const;

private:
    const float *at(std::uint32_t number) const { return &values_[static_cast<std::size_t>(number) * dimensions_]; }

    std::size_t count_;
    int given_, dimensions_;
    std::vector<float> values_;
};

class Graph {
public:
    // Lists of links: first the list of each vector at level 0, then those above, by vector and level; see graph.py.
    Graph(Vectors vectors, std::uint32_t entry, std::vector<std::uint8_t> levels, std::vector<std::uint32_t> starts,
          std::vector<std::uint32_t> links, std::size_t breadth);

    // Returns the numbers and squared distances of the nearest `count` vectors, nearest first; fewer if there are fewer.
    const std::vector<Found> &nearest(const float *query, std::size_t count) const;
    const Vectors &vectors() const { return vectors_; }

private:
    Found descend(const float *query, std::uint32_t *numbers, float *distances) const;
    const std::vector<Found> &nearest(const float *query, std::size_t count, Scratch &memory) const;

    Vectors vectors_;
    std::uint32_t entry_;
    std::vector<std::uint8_t> levels_;
    std::vector<std::uint32_t> starts_;  // start of each list in links_, and the end
    std::vector<std::uint32_t> upper_;   // number of the list of each vector at level 1
    std::vector<std::uint32_t> links_;
    std::size_t breadth_, most_links_ = 0;
};

}  // namespace dejavu
