#include "search.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "processors.hpp"

// Products are rounded before they are added, as in hnswlib: on all processors the same distances.
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

namespace dejavu {
namespace {

// The nearest vectors that a search has found, nearest first, and which of them it has expanded.
//
// One sorted list does the work of algorithm 2's two queues: what falls off its end is never expanded. An entry is one
// number, so that a new one finds its place and moves the others by minima and maxima alone, without a branch that
// depends on the data: those cost more than heaps do otherwise.
class Pool {
public:
    void start(std::size_t breadth) {
        breadth_ = breadth;
        size_ = next_ = 0;
        const std::size_t room = 1 + (breadth + LANES - 1) / LANES * LANES;
        if (entries_.size() != room) {
            entries_.resize(room);
            others_.resize(room);
            entries_[0] = others_[0] = -1.0;  // nearer than any
        }
        std::fill(entries_.begin() + 1, entries_.end(), NONE);
        farthest_ = std::numeric_limits<float>::infinity();
    }

    float farthest() const { return farthest_; }

    ALWAYS_INLINE void add(float distance, std::uint32_t number) {
        if (!(distance < farthest_)) return;
        const double entry = entry_of(distance, number);
        const std::size_t room = entries_.size() - 1;
        const double *const __restrict before = entries_.data();
        double *const __restrict after = others_.data();
        std::int64_t nearer = 0;
        for (std::size_t place = 1; place <= room; ++place) {
            const double here = before[place], last = before[place - 1];
            const double low = here < entry ? here : entry;
            after[place] = last > low ? last : low;
            nearer += here < entry;
        }
        entries_.swap(others_);
        next_ = std::min(next_, static_cast<std::size_t>(nearer));
        size_ += size_ < breadth_;
        if (size_ == breadth_) {
            farthest_ = static_cast<float>(distance_of(entries_[breadth_]));
            std::fill(entries_.begin() + 1 + breadth_, entries_.end(), NONE);
        }
    }

    // Returns the nearest vector that is not yet expanded, and marks it; false if there is none.
    bool expand(std::uint32_t &number) {
        std::uint64_t bits = EXPANDED;
        while (next_ < size_ && (bits = bits_of(entries_[1 + next_])) & EXPANDED) ++next_;
        if (next_ == size_) return false;
        number = number_of(bits);
        bits |= EXPANDED;
        std::memcpy(&entries_[1 + next_++], &bits, sizeof bits);
        return true;
    }

    // Returns the vector that is likely expanded next: the one after the last expanded, which may be expanded itself.
    std::uint32_t following() const { return number_of(bits_of(entries_[next_ < size_ ? 1 + next_ : size_])); }

    void copy(std::size_t count, std::vector<Found> &found) const {
        found.clear();
        for (std::size_t place = 1; place <= std::min(count, size_); ++place)
            found.emplace_back(static_cast<float>(distance_of(entries_[place])), number_of(bits_of(entries_[place])));
    }

private:
    // A float's digits leave 29 bits of a double free: the number of a vector, and whether it is expanded. Its exponents
    // are raised, since threads may be set to take the smallest doubles for 0.
    static constexpr std::uint64_t FREE = (std::uint64_t{1} << 29) - 1, EXPANDED = 1, RAISED = std::uint64_t{512} << 52;
    static constexpr std::size_t LANES = 8;
    static constexpr double NONE = std::numeric_limits<double>::infinity();

    static std::uint64_t bits_of(double entry) {
        std::uint64_t bits;
        std::memcpy(&bits, &entry, sizeof bits);
        return bits;
    }
    static std::uint32_t number_of(std::uint64_t bits) { return static_cast<std::uint32_t>((bits & FREE) >> 1); }
    static double entry_of(float distance, std::uint32_t number) {
        const std::uint64_t bits = (bits_of(distance) + RAISED) | static_cast<std::uint64_t>(number) << 1;
        double entry;
        std::memcpy(&entry, &bits, sizeof entry);
        return entry;
    }
    static double distance_of(double entry) {
        const std::uint64_t bits = (bits_of(entry) & ~FREE) - RAISED;
        double distance;
        std::memcpy(&distance, &bits, sizeof distance);
        return distance;
    }

    std::vector<double> entries_, others_;
    std::size_t breadth_ = 0, size_ = 0, next_ = 0;
    float farthest_ = 0.0f;
};

// Marks of the vectors that a search has seen: a mark of an earlier search counts as none.
class Seen {
public:
    void start(std::size_t count) {
        if (marks_.size() < count) marks_.resize(count, 0);
        if (++mark_ == 0) {
            std::fill(marks_.begin(), marks_.end(), std::uint16_t{0});
            mark_ = 1;
        }
    }
    bool add(std::uint32_t number) {
        const bool fresh = marks_[number] != mark_;
        marks_[number] = mark_;
        return fresh;
    }

private:
    std::vector<std::uint16_t> marks_;
    std::uint16_t mark_ = 0;
};

// Four numbers that are computed with at a time; compilers for any processor know the type.
typedef float Four __attribute__((vector_size(16)));

ALWAYS_INLINE Four four(const float *values) {
    Four result;
    std::memcpy(&result, values, sizeof result);
    return result;
}

ALWAYS_INLINE float sum_of_squares_by_fours(const float *one, const float *other, int dimensions) {
    Four sum = {};
    for (int first = 0; first < dimensions; first += 4) {
        const Four difference = four(one + first) - four(other + first);
        sum += difference * difference;
    }
    return sum[0] + sum[1] + sum[2] + sum[3];
}

}  // namespace

// Memory of the searches of a thread.
struct Scratch {
    Pool pool;
    Seen seen;
    std::vector<std::uint32_t> fresh;
    std::vector<float> distances;
    std::vector<float> query;
    std::vector<Found> found;
};

namespace {
thread_local Scratch scratch;
}

Vectors::Vectors(const float *values, std::size_t count, int dimensions, int lanes)
    : count_(count), given_(dimensions), dimensions_((dimensions + lanes - 1) / lanes * lanes),
      values_(count * dimensions_, 0.0f) {
    for (std::size_t row = 0; row < count; ++row)
        std::memcpy(&values_[row * dimensions_], values + row * dimensions, sizeof(float) * dimensions);
    // How hnswlib parts the dimensions: by fours, and the others one after the other.
    const int dims = dimensions_;
    parted_ = dims % 4 == 0 ? dims : dims > 16 ? dims / 16 * 16 : dims > 4 ? dims / 4 * 4 : 0;
}

ALWAYS_INLINE float Vectors::squared_distance(const float *query, std::uint32_t number) const {
    const float *const vector = &values_[static_cast<std::size_t>(number) * dimensions_];
    const float parted = sum_of_squares_by_fours(query, vector, parted_);
    if (parted_ == dimensions_) return parted;
    float rest = 0.0f;
    for (int place = parted_; place < dimensions_; ++place) {
        const float difference = query[place] - vector[place];
        rest += difference * difference;
    }
    return parted + rest;
}

const float *Vectors::padded(const float *query, std::vector<float> &memory) const {
    if (given_ == dimensions_) return query;
    memory.assign(dimensions_, 0.0f);
    std::memcpy(memory.data(), query, sizeof(float) * given_);
    return memory.data();
}

const std::vector<Found> &Scan::nearest(const float *query, std::size_t count) const {
    Scratch &memory = scratch;
    std::vector<Found> &found = memory.found;
    const float *const padded = vectors_.padded(query, memory.query);
    found.clear();
    for (std::uint32_t number = 0; number < vectors_.size(); ++number)
        found.emplace_back(vectors_.squared_distance(padded, number), number);
    count = std::min(count, found.size());
    std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(count), found.end());
    found.resize(count);
    return found;
}

Graph::Graph(Vectors vectors, std::uint32_t entry, std::vector<std::uint8_t> levels,
             std::vector<std::uint32_t> starts, std::vector<std::uint32_t> links, std::size_t breadth)
    : vectors_(std::move(vectors)), entry_(entry), levels_(std::move(levels)), starts_(std::move(starts)),
      links_(std::move(links)), breadth_(breadth) {
    for (std::size_t place = 0; place + 1 < starts_.size(); ++place)
        most_links_ = std::max<std::size_t>(most_links_, starts_[place + 1] - starts_[place]);
    std::uint32_t list = static_cast<std::uint32_t>(levels_.size());
    for (const std::uint8_t level : levels_) {
        upper_.push_back(list);
        list += level;
    }
}

Found Graph::descend(const float *query) const {
    Found nearest{vectors_.squared_distance(query, entry_), entry_};
    for (int level = levels_[entry_]; level > 0; --level) {
        for (bool moved = true; moved;) {
            moved = false;
            const std::uint32_t list = upper_[nearest.second] + static_cast<std::uint32_t>(level) - 1;
            for (std::uint32_t place = starts_[list]; place < starts_[list + 1]; ++place) {
                const float distance = vectors_.squared_distance(query, links_[place]);
                if (distance < nearest.first) {
                    nearest = {distance, links_[place]};
                    moved = true;
                }
            }
        }
    }
    return nearest;
}

const std::vector<Found> &Graph::nearest(const float *query, std::size_t count) const {
    return nearest(query, count, scratch);
}

// Apart, since compilers look up the thread's memory anew at each use where they see that it is the thread's.
FOR_EACH_PROCESSOR NOT_INLINE const std::vector<Found> &Graph::nearest(const float *query, std::size_t count,
                                                                   Scratch &memory) const {
    Pool &pool = memory.pool;
    Seen &seen = memory.seen;
    if (memory.fresh.size() < most_links_) memory.fresh.resize(most_links_);
    std::uint32_t *const fresh = memory.fresh.data();
    if (memory.distances.size() < most_links_) memory.distances.resize(most_links_);
    float *const distances = memory.distances.data();
    const float *const padded = vectors_.padded(query, memory.query);
    pool.start(std::max(breadth_, count));
    seen.start(vectors_.size());
    const Found start = descend(padded);
    pool.add(start.first, start.second);
    seen.add(start.second);
    for (std::uint32_t list; pool.expand(list);) {
        prefetch(links_.data() + starts_[pool.following()]);
        // Without a branch, since whether a vector was seen cannot be predicted.
        std::size_t unseen = 0;
        for (std::uint32_t place = starts_[list]; place < starts_[list + 1]; ++place) {
            fresh[unseen] = links_[place];
            unseen += seen.add(links_[place]);
        }
        for (std::size_t place = 0; place < unseen; ++place) vectors_.prefetch(fresh[place]);
        // Distances first, which do not depend on each other; most are too far, in no order that can be predicted.
        std::size_t near = 0;
        const float farthest = pool.farthest();
        for (std::size_t place = 0; place < unseen; ++place) {
            const std::uint32_t number = fresh[place];
            const float distance = vectors_.squared_distance(padded, number);
            distances[near] = distance;
            fresh[near] = number;
            near += distance < farthest;
        }
        for (std::size_t place = 0; place < near; ++place) pool.add(distances[place], fresh[place]);
    }
    pool.copy(count, memory.found);
    return memory.found;
}

}  // namespace dejavu
