// SPDX-License-Identifier: LGPL-2.1-or-later
#include "make.h"
#include "values.h"

namespace py = pybind11;
using namespace py::literals;

namespace heca::binding {
namespace {

py::object LatencyOf(const control::LatencyStats& latency) {
  py::tuple buckets(latency.buckets.size());
  for (std::size_t i = 0; i < latency.buckets.size(); ++i) {
    buckets[i] = py::make_tuple(latency.buckets[i].bound_ns, latency.buckets[i].count);
  }
  return Make("LatencyStats", "count"_a = latency.count, "sum_ns"_a = latency.sum_ns, "p50_ns"_a = latency.p50_ns,
              "p99_ns"_a = latency.p99_ns, "p999_ns"_a = latency.p999_ns, "buckets"_a = buckets);
}

py::object PagesOf(const control::PageStates& pages) {
  return Make("PageStates", "zero"_a = pages.zero, "here_clean"_a = pages.here_clean, "here_dirty"_a = pages.here_dirty,
              "away"_a = pages.away, "coming"_a = pages.coming, "leaving"_a = pages.leaving,
              "dropping"_a = pages.dropping, "cancel"_a = pages.cancel);
}

}  // namespace

py::object ToPython(const control::RegionStats& stats) {
  py::dict faults;
  for (const control::FaultStats& one : stats.faults) faults[py::str(std::string(Word(one.source)))] = LatencyOf(one.latency);
  return Make("RegionStats", "region"_a = stats.region, "pages"_a = PagesOf(stats.pages),
              "page_size_bytes"_a = stats.page_size.value(), "resident_bytes"_a = stats.resident.value(),
              "limit_bytes"_a = stats.limit.value(), "faults"_a = faults, "prefetch_issued"_a = stats.prefetch_issued,
              "prefetch_hits"_a = stats.prefetch_hits, "evictions"_a = stats.evictions,
              "clean_drops"_a = stats.clean_drops, "zero_drops"_a = stats.zero_drops, "cancels"_a = stats.cancels,
              "refaults"_a = stats.refaults, "waits_for_io"_a = stats.waits_for_io,
              "local_enomem"_a = stats.local_enomem, "alarms"_a = stats.alarms, "pages_lost"_a = stats.pages_lost,
              "vm_stops"_a = stats.vm_stops, "capture_stop_ns"_a = stats.capture_stop.count(),
              "io_rule"_a = stats.io_rule, "connections"_a = ToPython(stats.connections));
}

}  // namespace heca::binding
