// SPDX-License-Identifier: LGPL-2.1-or-later
#include "support/traces.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <numeric>
#include <random>

namespace heca::test {
namespace {

/// As a TLB does: an access to one of the last few pages is not seen.
class Recorder {
 public:
  explicit Recorder(Trace& trace) : trace_(trace) {}
  void Touch(std::uint32_t page, bool write) {
    for (Access& seen : recent_) {
      if (seen.page == page && (seen.write || !write)) return;
    }
    recent_[next_] = Access{.page = page & 0x7FFFFFFFU, .write = write ? 1U : 0U};
    trace_.accesses.push_back(recent_[next_]);
    next_ = (next_ + 1) % std::size(recent_);
  }

 private:
  Trace& trace_;
  std::size_t next_ = 0;
  Access recent_[8] = {{0x7FFFFFFF, 1}, {0x7FFFFFFF, 1}, {0x7FFFFFFF, 1}, {0x7FFFFFFF, 1},
                       {0x7FFFFFFF, 1}, {0x7FFFFFFF, 1}, {0x7FFFFFFF, 1}, {0x7FFFFFFF, 1}};
};

class ZipfDraw {
 public:
  explicit ZipfDraw(std::uint32_t n) : cumulative_(n) {
    double sum = 0;
    for (std::uint32_t i = 0; i < n; ++i) cumulative_[i] = sum += 1.0 / std::pow(i + 1.0, 0.99);
  }
  std::uint32_t operator()(std::mt19937_64& rng) const {
    const double at = static_cast<double>(rng() >> 11) * 0x1p-53 * cumulative_.back();
    return static_cast<std::uint32_t>(std::lower_bound(cumulative_.begin(), cumulative_.end(), at) -
                                      cumulative_.begin());
  }

 private:
  std::vector<double> cumulative_;
};

std::vector<std::uint32_t> Shuffled(std::uint32_t n, std::mt19937_64& rng) {
  std::vector<std::uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0U);
  for (std::uint32_t i = n; i > 1; --i) std::swap(order[i - 1], order[rng() % i]);
  return order;
}

void Push(Trace& trace, std::uint64_t page, bool write) {
  trace.accesses.push_back(Access{.page = static_cast<std::uint32_t>(page) & 0x7FFFFFFFU, .write = write ? 1U : 0U});
}

/// An iterator over numbers that records the page of everything that is read or written through it.
struct Recording {
  using iterator_category = std::random_access_iterator_tag;
  using value_type = std::uint64_t;
  using difference_type = std::ptrdiff_t;
  using pointer = std::uint64_t*;
  struct reference {
    std::uint64_t* at;
    const Recording* owner;
    operator std::uint64_t() const { return owner->Read(at); }  // NOLINT: what a reference does
    const reference& operator=(std::uint64_t value) const { return owner->Write(at, value), *this; }
    const reference& operator=(const reference& other) const { return *this = static_cast<std::uint64_t>(other); }
    reference(std::uint64_t* where, const Recording* by) : at(where), owner(by) {}
    reference(const reference&) = default;
    friend void swap(reference a, reference b) {
      const std::uint64_t held = a;
      a = static_cast<std::uint64_t>(b);
      b = held;
    }
  };

  std::uint64_t* at = nullptr;
  std::uint64_t* base = nullptr;
  Recorder* recorder = nullptr;

  [[nodiscard]] std::uint32_t PageOf(const std::uint64_t* where) const {
    return static_cast<std::uint32_t>((where - base) / 512);
  }
  [[nodiscard]] std::uint64_t Read(const std::uint64_t* where) const { return recorder->Touch(PageOf(where), false), *where; }
  void Write(std::uint64_t* where, std::uint64_t value) const {
    recorder->Touch(PageOf(where), true);
    *where = value;
  }
  reference operator*() const { return {at, this}; }
  reference operator[](difference_type n) const { return {at + n, this}; }
  Recording& operator++() { return ++at, *this; }
  Recording& operator--() { return --at, *this; }
  Recording operator++(int) { Recording old = *this; return ++at, old; }
  Recording operator--(int) { Recording old = *this; return --at, old; }
  Recording& operator+=(difference_type n) { return at += n, *this; }
  Recording& operator-=(difference_type n) { return at -= n, *this; }
  friend Recording operator+(Recording a, difference_type n) { return a += n; }
  friend Recording operator+(difference_type n, Recording a) { return a += n; }
  friend Recording operator-(Recording a, difference_type n) { return a -= n; }
  friend difference_type operator-(const Recording& a, const Recording& b) { return a.at - b.at; }
  friend auto operator<=>(const Recording& a, const Recording& b) { return a.at <=> b.at; }
  friend bool operator==(const Recording& a, const Recording& b) { return a.at == b.at; }
};

}  // namespace

Trace ScanWithHotSet(std::uint32_t pages, std::uint32_t rounds) {
  Trace trace{.name = "scan+hot", .pages = pages, .accesses = {}};
  std::mt19937_64 rng(11);
  const std::uint32_t hot = pages / 8;
  for (std::uint32_t round = 0; round < rounds; ++round) {
    for (std::uint32_t page = hot; page < pages; ++page) {
      Push(trace, page, false);
      Push(trace, rng() % hot, true);
    }
  }
  return trace;
}

Trace UniformRandom(std::uint32_t pages, std::uint32_t accesses) {
  Trace trace{.name = "random", .pages = pages, .accesses = {}};
  std::mt19937_64 rng(12);
  for (std::uint32_t i = 0; i < accesses; ++i) Push(trace, rng() % pages, rng() % 2 == 0);
  return trace;
}

Trace Zipf(std::uint32_t pages, std::uint32_t accesses, bool clustered) {
  Trace trace{.name = clustered ? "zipf-clustered" : "zipf", .pages = pages, .accesses = {}};
  std::mt19937_64 rng(13);
  const ZipfDraw draw(pages);
  std::vector<std::uint32_t> order = Shuffled(pages, rng);
  if (clustered) std::iota(order.begin(), order.end(), 0U);
  for (std::uint32_t i = 0; i < accesses; ++i) Push(trace, order[draw(rng)], rng() % 4 == 0);
  return trace;
}

Trace Loop(std::uint32_t pages, std::uint32_t rounds) {
  Trace trace{.name = "loop", .pages = pages, .accesses = {}};
  for (std::uint32_t round = 0; round < rounds; ++round) {
    for (std::uint32_t page = 0; page < pages; ++page) Push(trace, page, false);
  }
  return trace;
}

Trace Phases(std::uint32_t pages, std::uint32_t phases, std::uint32_t accesses_per_phase) {
  Trace trace{.name = "phases", .pages = pages, .accesses = {}};
  std::mt19937_64 rng(14);
  const std::uint32_t window = pages * 3 / 10;
  const ZipfDraw draw(window);
  for (std::uint32_t phase = 0; phase < phases; ++phase) {
    const std::vector<std::uint32_t> order = Shuffled(window, rng);
    for (std::uint32_t i = 0; i < accesses_per_phase; ++i)
      Push(trace, (std::uint64_t{phase} * window + order[draw(rng)]) % pages, rng() % 2 == 0);
  }
  return trace;
}

Trace Quicksort(std::uint32_t pages) {
  Trace trace{.name = "quicksort", .pages = pages, .accesses = {}};
  std::mt19937_64 rng(15);
  std::vector<std::uint64_t> numbers(std::size_t{pages} * 512);
  for (std::uint64_t& number : numbers) number = rng();
  Recorder recorder(trace);
  const Recording begin{numbers.data(), numbers.data(), &recorder};
  std::sort(begin, begin + static_cast<std::ptrdiff_t>(numbers.size()));
  return trace;
}

Trace BTree(std::uint32_t pages, std::uint32_t lookups) {
  Trace trace{.name = "btree", .pages = pages, .accesses = {}};
  std::mt19937_64 rng(16);
  constexpr std::uint32_t kFanout = 64;
  const std::uint32_t leaves = pages - pages / 32;  // the rest: inner nodes
  const std::uint32_t inner = (leaves + kFanout - 1) / kFanout;
  const ZipfDraw draw(leaves);
  const std::vector<std::uint32_t> order = Shuffled(leaves, rng);
  for (std::uint32_t i = 0; i < lookups; ++i) {
    const std::uint32_t leaf = order[draw(rng)];
    Push(trace, leaves + inner % (pages - leaves), false);
    Push(trace, leaves + leaf / kFanout % (pages - leaves), false);
    Push(trace, leaf, rng() % 5 == 0);
    if (i % (lookups / 4) == lookups / 8) {
      for (std::uint32_t page = 0; page < leaves; ++page) Push(trace, page, false);
    }
  }
  return trace;
}

Trace HashTable(std::uint32_t pages, std::uint32_t lookups) {
  Trace trace{.name = "hash", .pages = pages, .accesses = {}};
  std::mt19937_64 rng(17);
  const std::uint32_t buckets = pages / 8;
  const std::uint32_t records = pages - buckets;
  const ZipfDraw draw(records * 8);
  for (std::uint32_t i = 0; i < lookups; ++i) {
    const std::uint64_t key = draw(rng);
    const std::uint64_t hash = key * 0x9E3779B97F4A7C15ULL >> 20;
    Push(trace, hash % buckets, false);
    Push(trace, buckets + hash / 8191 % records, rng() % 3 == 0);
  }
  return trace;
}

Trace EightThreads(std::uint32_t pages, std::uint32_t accesses) {
  Trace trace{.name = "8 threads", .pages = pages, .accesses = {}};
  std::mt19937_64 rng(18);
  const std::uint32_t part = pages / 8;
  std::uint32_t step[8] = {};
  for (std::uint32_t i = 0; i < accesses; ++i) {
    const std::uint32_t thread = static_cast<std::uint32_t>(rng() % 8);
    const std::uint32_t n = step[thread]++;
    std::uint64_t page = rng() % part;
    if (thread < 3) page = n % part;
    if (thread == 3 || thread == 4) page = part - 1 - n % part;
    if (thread == 5) page = n * 3ULL % part;
    Push(trace, thread * part + page, thread % 2 == 0);
  }
  return trace;
}

Trace Recorded(const std::string& directory, const std::string& name) {
  // u32 number of pages, then per access a varint: zigzag(page - last page) * 2 + write.
  Trace trace;
  std::ifstream file(directory + "/" + name + ".trace", std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (bytes.size() < 4) return trace;
  const auto byte = [&bytes](std::size_t at) { return static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[at])); };
  trace.name = name;
  trace.pages = static_cast<std::uint32_t>(byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24);
  std::int64_t page = 0;
  for (std::size_t at = 4; at < bytes.size();) {
    std::uint64_t value = 0;
    for (unsigned shift = 0; at < bytes.size(); shift += 7) {
      const std::uint64_t part = byte(at++);
      value |= (part & 127) << shift;
      if (part < 128) break;
    }
    const std::uint64_t zigzag = value >> 1;
    page += static_cast<std::int64_t>(zigzag >> 1) ^ -static_cast<std::int64_t>(zigzag & 1);
    Push(trace, static_cast<std::uint64_t>(page), (value & 1) != 0);
  }
  return trace;
}

}  // namespace heca::test
