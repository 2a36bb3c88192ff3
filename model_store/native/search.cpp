#include "search.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "processors.hpp"

// Products are rounded before they are added, so that distances are the same on all processors.
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

namespace dejavu {
namespace {

// The nearest vectors that a search has found, nearest first, and which of them it has expanded.
//
// One sorted list replaces the two queues of algorithm 2: a vector that falls off its end is never expanded. An entry
// is one number, so that minima and maxima alone insert a new one and move the others. Branches that depend on the data
// would make this slower than two heaps.
class Pool {
public:
    void start(std::size_t breadth) {
        breadth_ = breadth;
        size_ = next_ = 0;
        memory_.assign(1 + (breadth / LANES + 1) * LANES, NONE);
        entries_ = memory_.data();
        entries_[0] = -1.0;  // nearer than any
        farthest_ = std::numeric_limits<float>::infinity();
    }

    float farthest() const { return farthest_; }

    ALWAYS_INLINE void add(float distance, std::uint32_t number) {
        if (!(distance < farthest_)) return;
        const double entry = entry_of(distance, number);
        // Most new entries belong after the next to be expanded: those before it stay where they are.
        std::size_t first = next_ / LANES * LANES;
        if (entry < entries_[first]) first = 0;
        // From the last block on, so that each reads what the one before it has not yet moved.
        const Entries added = entry - Entries{};
        Counts nearer = {};
        for (std::size_t block = size_ / LANES * LANES + LANES; block > first;) {
            block -= LANES;
            Entries here, before;
            std::memcpy(&here, entries_ + 1 + block, sizeof here);
            std::memcpy(&before, entries_ + block, sizeof before);
            nearer -= here < added;  // a lane of a comparison is 0 or −1
            const Entries low = here < added ? here : added;
            here = before > low ? before : low;
            std::memcpy(entries_ + 1 + block, &here, sizeof here);
        }
        std::size_t place = first;
        for (std::size_t lane = 0; lane < LANES; ++lane) place += static_cast<std::size_t>(nearer[lane]);
        next_ = std::min(next_, place);
        size_ += size_ < breadth_;
        if (size_ == breadth_) {
            farthest_ = static_cast<float>(distance_of(entries_[breadth_]));
            entries_[1 + breadth_] = NONE;
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

    void copy(std::size_t count, std::vector<Found> &found) const {
        found.clear();
        for (std::size_t place = 1; place <= std::min(count, size_); ++place)
            found.emplace_back(static_cast<float>(distance_of(entries_[place])), number_of(bits_of(entries_[place])));
    }

private:
    // A float's digits leave 29 bits of a double free, for the number of a vector and the mark that it is expanded. The
    // exponents are raised, since threads may be set to treat subnormal doubles as 0.
    static constexpr std::uint64_t FREE = (std::uint64_t{1} << 29) - 1, EXPANDED = 1, RAISED = std::uint64_t{512} << 52;
    static constexpr std::size_t LANES = 8;
    typedef double Entries __attribute__((vector_size(8 * LANES)));
    typedef std::int64_t Counts __attribute__((vector_size(8 * LANES)));
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

    std::vector<double> memory_;
    double *entries_ = nullptr;
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

    // Writes the vectors that were not seen yet, returns their number, and marks all vectors as seen.
    ALWAYS_INLINE std::size_t unseen(const std::uint32_t *from, const std::uint32_t *to, std::uint32_t *fresh) {
        std::uint16_t *const marks = marks_.data();
        const std::uint16_t mark = mark_;
        std::size_t count = 0;
        // Without a branch, since whether a vector was seen cannot be predicted.
        for (; from != to; ++from) {
            const std::uint32_t number = *from;
            fresh[count] = number;
            count += marks[number] != mark;
            marks[number] = mark;
        }
        return count;
    }

    void add(std::uint32_t number) { marks_[number] = mark_; }

private:
    std::vector<std::uint16_t> marks_;
    std::uint16_t mark_ = 0;
};

// Four numbers that one operation processes; compilers for any processor know the type.
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

// Sums of squares of the differences between a query and four vectors, each as by `sum_of_squares_by_fours`.
ALWAYS_INLINE Four four_sums_of_squares(const float *query, const float *one, const float *two, const float *three,
                                        const float *other, int dimensions) {
    Four sum_one = {}, sum_two = {}, sum_three = {}, sum_other = {};
    for (int first = 0; first < dimensions; first += 4) {
        const Four part = four(query + first);
        const Four of_one = part - four(one + first), of_two = part - four(two + first);
        const Four of_three = part - four(three + first), of_other = part - four(other + first);
        sum_one += of_one * of_one;
        sum_two += of_two * of_two;
        sum_three += of_three * of_three;
        sum_other += of_other * of_other;
    }
    // Transposed, then added lane by lane in the order of `sum_of_squares_by_fours`.
    const Four low = MIXED(sum_one, sum_two, 0, 4, 1, 5), other_low = MIXED(sum_three, sum_other, 0, 4, 1, 5);
    const Four high = MIXED(sum_one, sum_two, 2, 6, 3, 7), other_high = MIXED(sum_three, sum_other, 2, 6, 3, 7);
    return MIXED(low, other_low, 0, 1, 4, 5) + MIXED(low, other_low, 2, 3, 6, 7) +
           MIXED(high, other_high, 0, 1, 4, 5) + MIXED(high, other_high, 2, 3, 6, 7);
}

}  // namespace

// Number of vectors expanded at a time. Processors mispredict the ends of loops over the few links of one vector.
constexpr int EXPANDED_AT_A_TIME = 8;

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

Vectors::Vectors(const float *values, std::size_t count, int dimensions)
    : count_(count), given_(dimensions), dimensions_((dimensions + 3) / 4 * 4),
      values_(count * dimensions_, 0.0f) {
    for (std::size_t row = 0; row < count; ++row)
        std::memcpy(&values_[row * dimensions_], values + row * dimensions, sizeof(float) * dimensions);
}

ALWAYS_INLINE float Vectors::squared_distance(const float *query, std::uint32_t number) const {
    return sum_of_squares_by_fours(query, at(number), dimensions_);
}

ALWAYS_INLINE void Vectors::squared_distances(const float *query, std::uint32_t *numbers, std::size_t count,
                                              float *distances) const {
    if (!count) return;
    for (std::size_t more = 0; more < SPARE; ++more) numbers[count + more] = numbers[count - 1];
    for (std::size_t place = 0; place < count; place += 1 + SPARE) {
        const std::uint32_t *const of = numbers + place;
        const Four found = four_sums_of_squares(query, at(of[0]), at(of[1]), at(of[2]), at(of[3]), dimensions_);
        std::memcpy(distances + place, &found, sizeof found);
    }
}

const float *Vectors::padded(const float *query, std::vector<float> &memory) const {
    if (given_ == dimensions_) return query;
    memory.assign(dimensions_, 0.0f);
    std::memcpy(memory.data(), query, sizeof(float) * given_);
    return memory.data();
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

const std::vector<Found> &Graph::nearest(const float *query, std::size_t count) const {
    return nearest(query, count, scratch);
}

ALWAYS_INLINE Found Graph::descend(const float *query, std::uint32_t *numbers, float *distances) const {
    Found nearest{vectors_.squared_distance(query, entry_), entry_};
    for (int level = levels_[entry_]; level > 0; --level) {
        for (bool moved = true; moved;) {
            moved = false;
            const std::uint32_t list = upper_[nearest.second] + static_cast<std::uint32_t>(level) - 1;
            const std::size_t count = starts_[list + 1] - starts_[list];
            std::memcpy(numbers, links_.data() + starts_[list], count * sizeof *numbers);
            vectors_.squared_distances(query, numbers, count, distances);
            for (std::size_t place = 0; place < count; ++place) {
                if (distances[place] < nearest.first) {
                    nearest = {distances[place], numbers[place]};
                    moved = true;
                }
            }
        }
    }
    return nearest;
}

// A separate function: compilers that see that the memory is thread-local look it up again at each use.
FOR_EACH_PROCESSOR NOT_INLINE const std::vector<Found> &Graph::nearest(const float *query, std::size_t count,
                                                                   Scratch &memory) const {
    Pool &pool = memory.pool;
    Seen &seen = memory.seen;
    const std::size_t room = EXPANDED_AT_A_TIME * most_links_ + SPARE;
    if (memory.fresh.size() < room) memory.fresh.resize(room);
    std::uint32_t *const fresh = memory.fresh.data();
    if (memory.distances.size() < room) memory.distances.resize(room);
    float *const distances = memory.distances.data();
    const float *const padded = vectors_.padded(query, memory.query);
    pool.start(std::max(breadth_, count));
    seen.start(vectors_.size());
    const Found start = descend(padded, fresh, distances);
    pool.add(start.first, start.second);
    seen.add(start.second);
    const std::uint32_t *const links = links_.data();
    int expanded;
    do {
        std::size_t unseen = 0;
        expanded = 0;
        for (std::uint32_t list; expanded < EXPANDED_AT_A_TIME && pool.expand(list); ++expanded)
            unseen += seen.unseen(links + starts_[list], links + starts_[list + 1], fresh + unseen);
        // All distances first, since they do not depend on each other. Which of them are near cannot be predicted.
        vectors_.squared_distances(padded, fresh, unseen, distances);
        std::size_t near = 0;
        const float farthest = pool.farthest();
        for (std::size_t place = 0; place < unseen; ++place) {
            const float distance = distances[place];
            distances[near] = distance;
            fresh[near] = fresh[place];
            near += distance < farthest;
        }
        for (std::size_t place = 0; place < near; ++place) pool.add(distances[place], fresh[place]);
    } while (expanded);
    pool.copy(count, memory.found);
    return memory.found;
}

}  // namespace dejavu
