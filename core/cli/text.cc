// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/text.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "base/size.h"
#include "cli/table.h"

namespace heca::cli {
namespace {

using Align = Table::Align;

std::string Percent(Bytes part, Bytes whole) {
  if (whole.value() == 0) return "-";
  return fmt::format("{:.0f}%",
                     100.0 * static_cast<double>(part.value()) / static_cast<double>(whole.value()));
}

std::string Rate(double per_s) {
  return per_s < 9.95 && per_s > 0 ? fmt::format("{:.1f}", per_s) : fmt::format("{:.0f}", per_s);
}

std::string ByteRate(double per_s) { return FormatSize(Bytes(static_cast<std::uint64_t>(per_s))) + "/s"; }

std::string Micros(const std::optional<double>& us) { return us ? fmt::format("{:.0f}", *us) : "-"; }

/// "12/48" microseconds at p50 and p99, or "-".
std::string Quantiles(const RegionRates& rates, control::FaultSource source) {
  for (const SourceRates& one : rates.sources) {
    if (one.source == source && one.p50_us) return Micros(one.p50_us) + "/" + Micros(one.p99_us);
  }
  return "-";
}

std::string Join(const std::vector<std::string>& words) { return fmt::format("{}", fmt::join(words, ", ")); }

/// "  key       value", nothing without a value.
std::string Line(std::string_view key, const std::string& value) {
  return value.empty() ? "" : fmt::format("  {:<12}{}\n", key, value);
}

std::string LimitOf(const control::RegionInfo& region) {
  return region.limit >= region.size ? std::string("none") : FormatSize(region.limit);
}

}  // namespace

std::string FormatSpan(Nanos span) {
  const double seconds = std::chrono::duration<double>(span).count();
  const auto whole = static_cast<long long>(seconds);
  if (seconds >= 86400) return fmt::format("{}d{}h", whole / 86400, whole % 86400 / 3600);
  if (seconds >= 3600) return fmt::format("{}h{}m", whole / 3600, whole % 3600 / 60);
  if (seconds >= 60) return fmt::format("{}m{}s", whole / 60, whole % 60);
  if (seconds >= 1) return fmt::format("{:.1f}s", seconds);
  if (seconds >= 1e-3) return fmt::format("{:.3g}ms", seconds * 1e3);
  return fmt::format("{:.3g}us", seconds * 1e6);
}

std::string FormatTime(control::WallTime time) {
  const auto since = time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  const auto millis = std::chrono::duration_cast<Millis>(since - seconds).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(static_cast<std::time_t>(seconds.count())),
                     millis);
}

std::string StatusText(const control::NodeInfo& node, const std::vector<control::RegionInfo>& regions) {
  std::string text = fmt::format("hecad {} '{}' (pid {}), up {}\n", node.version, node.name, node.pid,
                                 FormatSpan(node.uptime));
  text += Line("socket", node.local_endpoint);
  text += Line("control", node.peer_endpoint);
  text += Line("data", Join(node.data_endpoints));
  text += Line("lends",
               node.donated.value() == 0
                   ? "nothing"
                   : fmt::format("{}: {} lent, {} quarantined, {} free", FormatSize(node.donated),
                                 FormatSize(node.lent), FormatSize(node.quarantined), FormatSize(node.free)));
  return text + "\n" + RegionsText(regions);
}

namespace {

/// Behind an empty line; nothing where there are none.
std::string ConnectionsText(const std::vector<control::PeerInfo>& peers) {
  Table table({{"NODE"}, {"REGION"}, {"ROLE"}, {"IN", Align::kRight}, {"OUT", Align::kRight}, {"CONNECTION"}});
  for (const auto& peer : peers) {
    for (const auto& connection : peer.connections) {
      table.Add({peer.name, connection.region, connection.role, FormatSize(Bytes(connection.bytes_in)),
                 FormatSize(Bytes(connection.bytes_out)), connection.text});
    }
  }
  return table.empty() ? "" : "\n" + table.Render();
}

}  // namespace

std::string NodesText(const std::vector<control::PeerInfo>& peers) {
  Table table({{"NODE"},
               {"HEALTH"},
               {"ENDPOINT"},
               {"DOMAIN"},
               {"DONATED", Align::kRight},
               {"FREE", Align::kRight},
               {"RTT", Align::kRight},
               {"TRANSPORT"},
               {"TROUBLE"}});
  for (const auto& peer : peers) {
    table.Add({peer.name, std::string(ToString(peer.health)), peer.endpoint, peer.failure_domain,
               FormatSize(peer.donated), FormatSize(peer.free),
               peer.rtt.count() == 0 ? "" : FormatSpan(peer.rtt), Join(peer.transports), peer.trouble});
  }
  return table.Render() + ConnectionsText(peers);
}

std::string RegionsText(const std::vector<control::RegionInfo>& regions) {
  if (regions.empty()) return "no regions: hecactl attach --domain NAME takes a VM under governance\n";
  Table table({{"REGION"},
               {"STATE"},
               {"PID", Align::kRight},
               {"SIZE", Align::kRight},
               {"LIMIT", Align::kRight},
               {"RESIDENT", Align::kRight},
               {"AWAY", Align::kRight},
               {"SPONSORS"},
               {"TROUBLE"}});
  for (const auto& region : regions) {
    std::vector<std::string> sponsors;
    for (const auto& store : region.stores) {
      const bool good = store.state == control::StoreState::kGood;
      sponsors.push_back(store.sponsor + (good ? "" : fmt::format(" ({})", ToString(store.state))));
    }
    table.Add({region.name, std::string(ToString(region.state)), fmt::format("{}", region.pid),
               FormatSize(region.size), LimitOf(region), FormatSize(region.resident), FormatSize(region.away),
               Join(sponsors), region.trouble});
  }
  return table.Render();
}

std::string RegionText(const control::RegionInfo& region) {
  std::string text = fmt::format("region {}: {}\n", region.name, ToString(region.state));
  text += Line("trouble", region.trouble);
  text +=
      Line("process", region.domain.empty() ? fmt::format("pid {}", region.pid)
                                            : fmt::format("pid {}, domain {}", region.pid, region.domain));
  text +=
      Line("size", fmt::format("{} in pages of {}", FormatSize(region.size), FormatSize(region.page_size)));
  text += Line("limit", LimitOf(region));
  text += Line("resident",
               fmt::format("{} ({})", FormatSize(region.resident), Percent(region.resident, region.size)));
  text += Line("away", fmt::format("{} ({})", FormatSize(region.away), Percent(region.away, region.size)));
  if (region.lost.value() > 0) {
    text += Line("lost", fmt::format("{}, at no sponsor any more; see hecactl resolve --help", FormatSize(region.lost)));
  }
  for (const auto& block : region.blocks) {
    text += Line("block", fmt::format("{} {} {}", block.name, FormatSize(block.size), block.path));
  }
  for (const auto& store : region.stores) {
    text +=
        Line("sponsor", fmt::format("{} {}{} lease {}: {}, {} of {} used", store.sponsor,
                                    store.transport.empty() ? "" : store.transport + " ", store.endpoint,
                                    store.lease.value(), ToString(store.state), FormatSize(store.used),
                                    FormatSize(store.reserved)));
  }
  text += Line("on loss", std::string(ToString(region.page_loss)));
  text += Line("disk I/O", region.io_rule);
  text += Line("attached", fmt::format("{}, the guest stood still for {}", FormatTime(region.attached_at),
                                       FormatSpan(region.capture_stop)));
  return text;
}

namespace {

/// Each vCPU's where that is short enough to be read.
std::string BlocktimeOf(const std::optional<control::Blocktime>& blocktime) {
  if (!blocktime || blocktime->vcpus.empty()) return "not known for each vCPU";
  const auto& vcpus = blocktime->vcpus;
  std::string text;
  if (vcpus.size() <= 8) {
    for (const Nanos waited : vcpus) text += (text.empty() ? "vCPUs " : ", ") + FormatSpan(waited);
  } else {
    text = fmt::format("{} vCPUs, the longest {}", vcpus.size(), FormatSpan(*std::max_element(vcpus.begin(), vcpus.end())));
  }
  return fmt::format("{}; all of them at once {}; other threads {}", text, FormatSpan(blocktime->all_vcpus),
                     FormatSpan(blocktime->others));
}

}  // namespace

std::string MigrationText(const control::MigrationSummary& summary, const std::string& destination) {
  std::string text = fmt::format("region {}: moved to {}, {}\n", summary.region, destination, ToString(summary.mode));
  text += Line("total", FormatSpan(summary.total));
  text += Line("downtime", FormatSpan(summary.downtime));
  if (summary.rounds > 0) {
    text += Line("ahead", fmt::format("{} in {} rounds", FormatSize(summary.ahead), summary.rounds));
  }
  text += Line("memory", FormatSize(summary.memory));
  text += Line("moved", fmt::format("{} ({})", FormatSize(summary.moved), Percent(summary.moved, summary.memory)));
  text += Line("zero", fmt::format("{} ({})", FormatSize(summary.zero), Percent(summary.zero, summary.memory)));
  if (summary.faults == 0) return text + Line("faults", "none");
  text += Line("faults", fmt::format("{}, each waited {} (p50), {} (p99), all threads together {}", summary.faults,
                                     FormatSpan(summary.fault_p50), FormatSpan(summary.fault_p99),
                                     FormatSpan(summary.blocked)));
  return text + Line("blocked", BlocktimeOf(summary.blocktime));
}

std::string MigrationsText(const std::vector<control::MigrationInfo>& migrations) {
  if (migrations.empty()) return "no migrations: no VM leaves this node, or left it in the last ten minutes\n";
  Table table({{"REGION"},
               {"TO"},
               {"MODE"},
               {"PHASE"},
               {"DONE", Align::kRight},
               {"TIME", Align::kRight},
               {"DOWNTIME", Align::kRight},
               {"FAULTS", Align::kRight},
               {"P50/P99", Align::kRight},
               {"TROUBLE"}});
  for (const auto& one : migrations) {
    const control::Progress& progress = one.progress;
    const control::MigrationSummary& reached = one.reached;
    table.Add({reached.region, one.destination, std::string(ToString(reached.mode)), progress.phase,
               progress.total == 0 ? "" : Percent(Bytes(progress.done), Bytes(progress.total)), FormatSpan(reached.total),
               reached.downtime.count() == 0 ? "" : FormatSpan(reached.downtime), fmt::format("{}", reached.faults),
               reached.faults == 0 ? "" : FormatSpan(reached.fault_p50) + "/" + FormatSpan(reached.fault_p99),
               one.trouble});
  }
  return table.Render();
}

std::string LeasesText(const std::vector<control::LeaseInfo>& leases) {
  if (leases.empty()) return "no leases: nobody borrows memory from this node\n";
  Table table({{"LEASE", Align::kRight},
               {"STATE"},
               {"OWNER"},
               {"REGION"},
               {"PAGE", Align::kRight},
               {"RESERVED", Align::kRight},
               {"WRITTEN", Align::kRight},
               {"EXPIRES", Align::kRight}});
  for (const auto& lease : leases) {
    table.Add({fmt::format("{}", lease.id.value()), std::string(ToString(lease.state)), lease.owner_node,
               lease.region, FormatSize(lease.page_size), FormatSize(lease.reserved),
               FormatSize(lease.written),
               lease.time_to_live.count() == 0 ? "" : FormatSpan(lease.time_to_live)});
  }
  return table.Render();
}

std::string DoctorText(const std::vector<control::DoctorCheck>& checks) {
  std::size_t width = 0;
  for (const auto& check : checks) width = std::max(width, check.name.size());
  std::string text;
  for (const auto& check : checks) {
    text += fmt::format("{:<5} {:<{}}  {}\n", ToString(check.verdict), check.name, width, check.what);
    if (!check.remedy.empty()) text += fmt::format("{:>{}}remedy: {}\n", "", width + 8, check.remedy);
  }
  return text;
}

std::string EventText(const control::Event& event) {
  std::string values;
  for (const auto& [name, value] : event.values) values += fmt::format(" {}={}", name, value);
  return fmt::format("{} {:<7} {}{}: {}{}\n", FormatTime(event.time), ToString(event.severity),
                     event.region.empty() ? "" : event.region + " ", ToString(event.kind), event.text,
                     values);
}

std::string TopText(const std::vector<RegionRates>& rates) {
  using control::FaultSource;
  Table table({{"REGION"},
               {"RESIDENT", Align::kRight},
               {"LIMIT", Align::kRight},
               {"AWAY", Align::kRight},
               {"FAULTS/s", Align::kRight},
               {"SPONSOR", Align::kRight},
               {"BUFFER", Align::kRight},
               {"ZERO", Align::kRight},
               {"EVICT/s", Align::kRight},
               {"PREFETCH", Align::kRight},
               {"IN", Align::kRight},
               {"OUT", Align::kRight}});
  for (const RegionRates& one : rates) {
    table.Add({one.region, FormatSize(one.resident), FormatSize(one.limit), FormatSize(one.away),
               Rate(one.faults_per_s), Quantiles(one, FaultSource::kSponsor),
               Quantiles(one, FaultSource::kWriteBackBuffer), Quantiles(one, FaultSource::kZero),
               Rate(one.evictions_per_s),
               one.prefetch_hit_percent ? fmt::format("{:.0f}%", *one.prefetch_hit_percent) : "",
               ByteRate(one.bytes_in_per_s), ByteRate(one.bytes_out_per_s)});
  }
  return table.empty() ? "no regions\n"
                       : table.Render() + "SPONSOR, BUFFER, ZERO: fault latency in us, p50/p99\n";
}

}  // namespace heca::cli
