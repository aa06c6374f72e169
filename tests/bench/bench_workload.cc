// SPDX-License-Identifier: LGPL-2.1-or-later
// The workloads of `tools/bench aggregate` and `scale`, over a shared file mapping that is filled before the clock
// starts. Use: bench_workload FILE MIB KIND [SECONDS]; KIND is
//   quicksort  one sort of random 64-bit numbers, Hoare's partition
//   chase      a random cycle through all pages, a dependent load each; as many steps as there are pages
//   zipf       reads of pages by a zipf law (s = 0.99), 8 words a page; four times as many reads as there are pages
//   scan       reads 8 words of every page, in order; on the line "write" writes a word of every page instead
//   sparse     touches one page only; the rest of the file stays a hole
//   faults-N   N threads touch random pages for SECONDS; prints touches that took longer than 2 us (faults)
// Prints "ready PID"; then for each line read from standard input runs once and prints "seconds S check C".
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Words = std::span<std::uint64_t>;
constexpr std::size_t kWordsPerPage = 512;

double SecondsSince(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

void Quicksort(std::uint64_t* first, std::uint64_t* last) {
  while (last - first > 16) {
    const std::uint64_t a = *first, b = first[(last - first) / 2], c = last[-1];
    const std::uint64_t pivot = std::max(std::min(a, b), std::min(std::max(a, b), c));
    std::uint64_t *low = first - 1, *high = last;
    for (;;) {
      while (*++low < pivot) {
      }
      while (*--high > pivot) {
      }
      if (low >= high) break;
      std::swap(*low, *high);
    }
    Quicksort(first, high + 1);
    first = high + 1;
  }
  for (std::uint64_t* i = first + 1; i < last; ++i) {
    const std::uint64_t value = *i;
    std::uint64_t* at = i;
    for (; at > first && at[-1] > value; --at) *at = at[-1];
    *at = value;
  }
}

void FillForSort(Words words) {
  std::mt19937_64 random(7);
  for (auto& word : words) word = random();
}

std::uint64_t Sort(Words words) {
  Quicksort(words.data(), words.data() + words.size());
  return words[words.size() / 2];
}

void FillForChase(Words words) {
  const std::size_t pages = words.size() / kWordsPerPage;
  std::vector<std::uint32_t> order(pages);
  std::iota(order.begin(), order.end(), 0U);
  std::shuffle(order.begin() + 1, order.end(), std::mt19937_64(11));
  for (std::size_t i = 0; i < pages; ++i) words[order[i] * kWordsPerPage] = order[(i + 1) % pages];
}

std::uint64_t Chase(Words words) {
  std::uint64_t at = 0;
  for (std::size_t step = 0; step < words.size() / kWordsPerPage; ++step) at = words[at * kWordsPerPage];
  return at;
}

/// Zipf ranks by rejection inversion would be exact; a table of cumulative weights is as exact and simpler.
class Zipf {
 public:
  Zipf(std::size_t items, double exponent) : cumulative_(items) {
    double sum = 0;
    for (std::size_t i = 0; i < items; ++i) cumulative_[i] = sum += std::pow(static_cast<double>(i + 1), -exponent);
  }
  template <class Random>
  std::size_t operator()(Random& random) {
    std::uniform_real_distribution<double> pick(0, cumulative_.back());
    return static_cast<std::size_t>(std::lower_bound(cumulative_.begin(), cumulative_.end(), pick(random)) -
                                    cumulative_.begin());
  }

 private:
  std::vector<double> cumulative_;
};

void FillForZipf(Words words) {
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = i;
}

std::uint64_t WriteAll(Words words) {
  for (std::size_t word = 0; word < words.size(); word += kWordsPerPage) ++words[word];
  return words[0];
}

std::uint64_t Scan(Words words) {
  std::uint64_t sum = 0;
  for (std::size_t word = 0; word < words.size(); word += 64) sum += words[word];
  return sum;
}

/// The draw is made before the clock starts: only the reads are timed.
std::vector<std::uint32_t> ZipfDraw(std::size_t pages) {
  std::mt19937_64 random(13);
  std::vector<std::uint32_t> place(pages);  // rank -> page: popular pages lie scattered
  std::iota(place.begin(), place.end(), 0U);
  std::shuffle(place.begin(), place.end(), random);
  Zipf zipf(pages, 0.99);
  std::vector<std::uint32_t> draw(4 * pages);
  for (auto& page : draw) page = place[zipf(random)];
  return draw;
}

std::uint64_t ReadDrawn(Words words, const std::vector<std::uint32_t>& draw) {
  std::uint64_t sum = 0;
  for (const std::uint32_t page : draw) {
    for (std::size_t word = 0; word < 8; ++word) sum += words[page * kWordsPerPage + word * 64];
  }
  return sum;
}

std::uint64_t TouchFor(Words words, std::size_t thread_count, double seconds) {
  std::atomic<std::uint64_t> faults{0};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < thread_count; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t + 1);
      std::uint64_t mine = 0;
      const auto begin = Clock::now();
      while (SecondsSince(begin) < seconds) {
        for (int i = 0; i < 64; ++i) {
          const std::size_t page = random() % (words.size() / kWordsPerPage);
          const auto before = Clock::now();
          const std::uint64_t seen = *const_cast<volatile std::uint64_t*>(&words[page * kWordsPerPage + 1]);
          if (Clock::now() - before > std::chrono::microseconds(2)) ++mine;
          if (seen != page * kWordsPerPage + 1) {
            std::fprintf(stderr, "page %zu: read %llu\n", page, static_cast<unsigned long long>(seen));
            std::_Exit(1);
          }
        }
      }
      faults += mine;
    });
  }
  for (auto& thread : threads) thread.join();
  return faults;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fputs("use: bench_workload FILE MIB quicksort|chase|zipf|scan|sparse|faults-N [SECONDS]\n", stderr);
    return 2;
  }
  const std::size_t bytes = std::strtoull(argv[2], nullptr, 10) << 20;
  const std::string kind = argv[3];
  const double seconds = argc > 4 ? std::strtod(argv[4], nullptr) : 2;
  const int fd = ::open(argv[1], O_RDWR | O_CREAT, 0600);
  if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
    std::perror(argv[1]);
    return 1;
  }
  void* map = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) {
    std::perror("mmap");
    return 1;
  }
  const Words words(static_cast<std::uint64_t*>(map), bytes / 8);
  std::function<std::uint64_t()> run;
  std::function<std::uint64_t()> run_write;
  if (kind == "quicksort") {
    FillForSort(words);
    run = [words] { return Sort(words); };
  } else if (kind == "chase") {
    FillForChase(words);
    run = [words] { return Chase(words); };
  } else if (kind == "zipf") {
    FillForZipf(words);
    run = [words, draw = ZipfDraw(words.size() / kWordsPerPage)] { return ReadDrawn(words, draw); };
  } else if (kind == "scan") {
    FillForZipf(words);
    run = [words] { return Scan(words); };
    run_write = [words] { return WriteAll(words); };
  } else if (kind == "sparse") {
    words[0] = 1;
    run = [words] { return words[0]; };
  } else if (kind.starts_with("faults-")) {
    FillForZipf(words);
    const std::size_t threads = std::strtoull(kind.c_str() + 7, nullptr, 10);
    run = [words, threads, seconds] { return TouchFor(words, threads, seconds); };
  } else {
    std::fprintf(stderr, "unknown kind %s\n", kind.c_str());
    return 2;
  }
  std::printf("ready %d\n", ::getpid());
  std::fflush(stdout);
  char line[64];
  while (std::fgets(line, sizeof line, stdin) != nullptr) {
    const auto& body = run_write && std::string_view(line) == "write\n" ? run_write : run;
    const auto begin = Clock::now();
    const std::uint64_t check = body();
    std::printf("seconds %.6f check %llu\n", SecondsSince(begin), static_cast<unsigned long long>(check));
    std::fflush(stdout);
  }
  return 0;
}
