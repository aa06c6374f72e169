// SPDX-License-Identifier: LGPL-2.1-or-later
// Eviction policy and prefetcher on page traces, no kernel involved: bench_policy [PAGES [FILE.json]].
// Misses are relative to FIFO's with the same batches; CLOCK, LRU and the optimum see what no pager can see.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "fault/policy_adaptive.h"
#include "fault/prefetch.h"
#include "support/trace_sim.h"
#include "support/traces.h"

namespace heca::test {
namespace {

using fault::AdaptivePolicy;
using fault::Prefetcher;

std::vector<Trace> Traces(std::uint32_t pages) {
  std::vector<Trace> traces;
  traces.push_back(ScanWithHotSet(pages, 12));
  traces.push_back(UniformRandom(pages, 20 * pages));
  traces.push_back(Zipf(pages, 40 * pages, false));
  traces.push_back(Zipf(pages, 40 * pages, true));
  traces.push_back(Loop(pages, 40));
  traces.push_back(Phases(pages, 12, 8 * pages));
  traces.push_back(Quicksort(pages));
  traces.push_back(BTree(pages, 30 * pages));
  traces.push_back(HashTable(pages, 20 * pages));
  traces.push_back(EightThreads(pages, 40 * pages));
  for (const char* name : {"python-dict-sort", "cc1plus"}) traces.push_back(Recorded(HECA_TRACES, name));
  return traces;
}

nlohmann::json Evict(const Trace& trace, const char* ratio, std::uint32_t limit) {
  const auto accesses = static_cast<double>(trace.accesses.size());
  const auto rate = [&](Yardstick yardstick) { return static_cast<double>(Misses(yardstick, trace, limit)) / accesses; };
  AdaptivePolicy policy({.region_pages = PageCount(trace.pages), .limit = PageCount(limit), .seed = 1});
  const SimResult ours = Simulate(policy, trace, limit, {});
  const double fifo = rate(Yardstick::kFifo);
  const double mine = static_cast<double>(ours.misses) / accesses;
  nlohmann::json row = {{"trace", trace.name},           {"ratio", ratio},
                        {"limit", limit},                {"fifo", fifo},
                        {"random", rate(Yardstick::kRandom)}, {"clock", rate(Yardstick::kClock)},
                        {"lru", rate(Yardstick::kLru)},  {"optimum", rate(Yardstick::kOptimum)},
                        {"ours", mine},                  {"ours_over_fifo", mine / fifo},
                        {"ns_per_victim", ours.ns_per_victim},
                        {"scanned_per_victim", static_cast<double>(ours.stats.scanned) / static_cast<double>(ours.stats.victims)},
                        {"pages_per_run", static_cast<double>(ours.stats.victims) / static_cast<double>(ours.stats.runs)}};
  std::printf("%-17s %-5s %7.2f %7.2f %7.2f %7.2f %7.2f %7.2f  %6.3f %6.0f %6.0f %5.1f\n", trace.name.c_str(), ratio,
              100 * fifo, 100 * row["random"].get<double>(), 100 * row["clock"].get<double>(),
              100 * row["lru"].get<double>(), 100 * mine, 100 * row["optimum"].get<double>(), mine / fifo,
              row["scanned_per_victim"].get<double>(), ours.ns_per_victim, row["pages_per_run"].get<double>());
  return row;
}

nlohmann::json Prefetch(const Trace& trace, const char* ratio, std::uint32_t limit, bool traps) {
  AdaptivePolicy policy({.region_pages = PageCount(trace.pages), .limit = PageCount(limit), .seed = 1});
  Prefetcher prefetcher({.region_pages = PageCount(trace.pages), .min_window = 4, .max_window = 128, .traps = traps});
  prefetcher.SetLimit(PageCount(limit));
  SimOptions options;
  options.prefetcher = &prefetcher;
  const SimResult with = Simulate(policy, trace, limit, options);
  AdaptivePolicy bare({.region_pages = PageCount(trace.pages), .limit = PageCount(limit), .seed = 1});
  const SimResult without = Simulate(bare, trace, limit, {});
  // First touches are no fetches.
  const auto fetches = static_cast<double>(with.misses - std::min<std::uint64_t>(with.misses, trace.pages));
  const auto used = static_cast<double>(with.prefetched_used);
  const double coverage = used / (used + fetches + static_cast<double>(with.traps) + 1e-9);
  const double accuracy = with.prefetched == 0 ? 1 : used / static_cast<double>(with.prefetched);
  const auto bare_fetches = static_cast<double>(without.misses - std::min<std::uint64_t>(without.misses, trace.pages));
  std::printf("%-17s %-5s %-5s %9.0f %9.0f %9lu %9lu  %6.1f %6.1f\n", trace.name.c_str(), ratio, traps ? "traps" : "-",
              bare_fetches, fetches, with.traps, with.prefetched, 100 * coverage, 100 * accuracy);
  return {{"trace", trace.name},       {"ratio", ratio},         {"traps", traps},
          {"stalls_without", bare_fetches}, {"stalls", fetches}, {"trap_faults", with.traps},
          {"prefetched", with.prefetched}, {"coverage", coverage}, {"accuracy", accuracy}};
}

int Run(std::uint32_t pages, const std::string& file) {
  const std::vector<std::pair<const char*, double>> ratios = {{"9:10", 0.9},     {"3:4", 0.75}, {"1:2", 0.5},
                                                              {"1:3", 1.0 / 3}, {"1:4", 0.25}, {"1:5", 0.2}};
  const std::vector<Trace> traces = Traces(pages);
  nlohmann::json out = {{"pages", pages}, {"eviction", nlohmann::json::array()}, {"prefetch", nlohmann::json::array()}};
  std::printf("Misses in %% of accesses, first touches included; local memory : all memory\n%-17s %-5s %7s %7s %7s %7s %7s %7s  %6s %6s %6s %5s\n",
              "trace", "ratio", "FIFO", "random", "CLOCK", "LRU", "ours", "optimum", "/FIFO", "scan/v", "ns/v", "run");
  for (const Trace& trace : traces) {
    for (const auto& [name, room] : ratios)
      out["eviction"].push_back(Evict(trace, name, static_cast<std::uint32_t>(trace.pages * room)));
  }
  std::printf("\nPrefetch: waits for the store without and with it, trap faults, pages prefetched, coverage and accuracy in %%\n");
  for (const Trace& trace : traces) {
    for (const auto& [name, room] : {ratios[2], ratios[5]}) {
      for (const bool traps : {false, true})
        out["prefetch"].push_back(Prefetch(trace, name, static_cast<std::uint32_t>(trace.pages * room), traps));
    }
  }
  const std::filesystem::path path(file);
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path());
  std::ofstream stream(path);
  stream << out.dump(1) << "\n";
  if (!stream) {
    std::fprintf(stderr, "cannot write %s\n", file.c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace heca::test

int main(int argc, char** argv) {
  return heca::test::Run(argc > 1 ? static_cast<std::uint32_t>(std::max(1024, std::atoi(argv[1]))) : 16384,
                         argc > 2 ? argv[2] : "build/bench/policy.json");
}
