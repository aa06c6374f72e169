// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/convert_enum.h"
#include "control/convert_node.h"
#include "control/status_map.h"

namespace heca::control {
namespace {

void ToMessage(const LatencyStats& from, v1::LatencyStats& to) {
  to.set_count(from.count);
  to.set_sum_ns(from.sum_ns);
  to.set_p50_ns(from.p50_ns);
  to.set_p99_ns(from.p99_ns);
  to.set_p999_ns(from.p999_ns);
  for (const LatencyBucket& bucket : from.buckets) {
    v1::LatencyBucket& made = *to.add_buckets();
    made.set_bound_ns(bucket.bound_ns);
    made.set_count(bucket.count);
  }
}

LatencyStats FromMessage(const v1::LatencyStats& from) {
  LatencyStats to;
  to.count = from.count();
  to.sum_ns = from.sum_ns();
  to.p50_ns = from.p50_ns();
  to.p99_ns = from.p99_ns();
  to.p999_ns = from.p999_ns();
  for (const v1::LatencyBucket& bucket : from.buckets()) to.buckets.push_back({bucket.bound_ns(), bucket.count()});
  return to;
}

void ToMessage(const PageStates& from, v1::PageStates& to) {
  to.set_zero(from.zero);
  to.set_here_clean(from.here_clean);
  to.set_here_dirty(from.here_dirty);
  to.set_away(from.away);
  to.set_coming(from.coming);
  to.set_leaving(from.leaving);
  to.set_dropping(from.dropping);
  to.set_cancel(from.cancel);
}

PageStates FromMessage(const v1::PageStates& from) {
  return {from.zero(),   from.here_clean(), from.here_dirty(), from.away(),
          from.coming(), from.leaving(),    from.dropping(),   from.cancel()};
}

}  // namespace

void ToMessage(const ConnectionInfo& from, v1::Connection& to) {
  to.set_text(Utf8(from.text));
  to.set_role(Utf8(from.role));
  to.set_region(Utf8(from.region));
  to.set_lease(from.lease.value());
  to.set_outgoing(from.outgoing);
  to.set_bytes_in(from.bytes_in);
  to.set_bytes_out(from.bytes_out);
}

ConnectionInfo FromMessage(const v1::Connection& from) {
  return {from.text(),     from.role(),     from.region(),   LeaseId(from.lease()),
          from.outgoing(), from.bytes_in(), from.bytes_out()};
}

void ToMessage(const RegionStats& from, v1::RegionStats& to) {
  to.set_region(Utf8(from.region));
  ToMessage(from.pages, *to.mutable_pages());
  to.set_page_size(from.page_size.value());
  to.set_resident_bytes(from.resident.value());
  to.set_limit_bytes(from.limit.value());
  for (const FaultStats& faults : from.faults) {
    v1::FaultStats& made = *to.add_faults();
    made.set_source(EnumTo<v1::FaultSource>(faults.source));
    ToMessage(faults.latency, *made.mutable_latency());
  }
  to.set_prefetch_issued(from.prefetch_issued);
  to.set_prefetch_hits(from.prefetch_hits);
  to.set_evictions(from.evictions);
  to.set_clean_drops(from.clean_drops);
  to.set_zero_drops(from.zero_drops);
  to.set_cancels(from.cancels);
  to.set_refaults(from.refaults);
  to.set_waits_for_io(from.waits_for_io);
  to.set_local_enomem(from.local_enomem);
  to.set_alarms(from.alarms);
  to.set_pages_lost(from.pages_lost);
  to.set_vm_stops(from.vm_stops);
  to.set_capture_stop_ns(CountOf(from.capture_stop));
  to.set_io_rule(Utf8(from.io_rule));
  for (const ConnectionInfo& connection : from.connections) ToMessage(connection, *to.add_connections());
}

RegionStats FromMessage(const v1::RegionStats& from) {
  RegionStats to;
  to.region = from.region();
  to.pages = FromMessage(from.pages());
  to.page_size = Bytes(from.page_size());
  to.resident = Bytes(from.resident_bytes());
  to.limit = Bytes(from.limit_bytes());
  for (const v1::FaultStats& faults : from.faults()) {
    to.faults.push_back({EnumFrom(faults.source(), kFaultSources.back()), FromMessage(faults.latency())});
  }
  to.prefetch_issued = from.prefetch_issued();
  to.prefetch_hits = from.prefetch_hits();
  to.evictions = from.evictions();
  to.clean_drops = from.clean_drops();
  to.zero_drops = from.zero_drops();
  to.cancels = from.cancels();
  to.refaults = from.refaults();
  to.waits_for_io = from.waits_for_io();
  to.local_enomem = from.local_enomem();
  to.alarms = from.alarms();
  to.pages_lost = from.pages_lost();
  to.vm_stops = from.vm_stops();
  to.capture_stop = NanosFrom(from.capture_stop_ns());
  to.io_rule = from.io_rule();
  for (const v1::Connection& connection : from.connections()) to.connections.push_back(FromMessage(connection));
  return to;
}

}  // namespace heca::control
