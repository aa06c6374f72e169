// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/domain_migration.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <thread>
#include <utility>

namespace heca::cli {
namespace {

constexpr Millis kLook{100};
/// A migration that failed is over for hecad a moment after libvirt; it takes QEMU's setting back.
constexpr std::chrono::seconds kTakenBack{3};

/// "HOST:PORT" without its port.
std::string_view HostOf(std::string_view endpoint) { return endpoint.substr(0, endpoint.rfind(':')); }

/// "qemu+tcp://user@HOST:PORT/system": HOST.
std::string_view HostOfUri(std::string_view uri) {
  const std::size_t begin = uri.find("://");
  if (begin == std::string_view::npos) return {};
  std::string_view host = uri.substr(begin + 3);
  host = host.substr(0, host.find('/'));
  if (const std::size_t user = host.find('@'); user != std::string_view::npos) host.remove_prefix(user + 1);
  const std::size_t port = host.rfind(':');
  const bool has_port = port != std::string_view::npos && host.find(']', port) == std::string_view::npos;
  return has_port ? host.substr(0, port) : host;
}

Status Refused(std::string text) { return {ErrorCode::kFailedPrecondition, std::move(text)}; }

}  // namespace

std::string UriOfHost(const std::string& host) { return "qemu+tcp://" + host + "/system"; }

Result<control::MigrationSummary> DomainMigration::Run(control::ProgressSink& progress) {
  HECA_RETURN_IF_ERROR(CheckNodes());
  HECA_RETURN_IF_ERROR(CheckDomain());
  HECA_RETURN_IF_ERROR(Begin());
  return Follow(progress);
}

Status DomainMigration::CheckNodes() {
  HECA_ASSIGN_OR_RETURN(const auto nodes, api_.Nodes());
  HECA_RETURN_IF_ERROR(CheckPeer(nodes));
  if (move_.uri.empty()) move_.uri = UriOfHost(move_.destination);
  HECA_ASSIGN_OR_RETURN(const auto departures, api_.Migrations());
  for (const auto& one : departures) before_.insert(one.image);
  return {};
}

Status DomainMigration::CheckPeer(const std::vector<control::PeerInfo>& nodes) {
  if (move_.destination.find("://") != std::string::npos && move_.uri.empty()) move_.uri = move_.destination;
  const std::string host(move_.uri.empty() ? move_.destination : HostOfUri(move_.uri));
  const auto named = [&](const control::PeerInfo& node) {
    return node.name == move_.destination || node.name == host || HostOf(node.endpoint) == host;
  };
  const auto found = std::find_if(nodes.begin(), nodes.end(), named);
  // A host may have more names than hecad knows: its libvirt and its hook have the last word.
  if (found == nodes.end()) return {};
  if (found->health == control::PeerHealth::kSelf) return Refused(fmt::format("'{}' is this host", move_.destination));
  if (found->health == control::PeerHealth::kUnreachable) {
    return Refused(fmt::format("the hecad of '{}' does not answer at {} ({}): start it there (systemctl start hecad)",
                               found->name, found->endpoint, found->trouble));
  }
  if (move_.uri.empty()) move_.uri = UriOfHost(std::string(HostOf(found->endpoint)));
  return {};
}

Status DomainMigration::CheckDomain() {
  HECA_ASSIGN_OR_RETURN(const std::string state, libvirt_.State(move_.domain));
  if (state != "running" && state != "paused" && state != "idle") {
    return Refused(fmt::format("domain '{0}' is not running ({1}): virsh start {0}", move_.domain, state));
  }
  HECA_ASSIGN_OR_RETURN(const std::string xml, libvirt_.Xml(move_.domain));
  auto memory = domain::ReadMetadata(xml);
  if (memory.status().code() == ErrorCode::kNotFound) {
    return Refused(fmt::format("the metadata of domain '{0}' do not ask for heca, so this would be libvirt's own migration: "
                               "`virsh migrate --live --p2p {0} {1}` does that; to have its memory moved by hecad, run its "
                               "XML through `hecactl xml --migration post-copy`, define it, and start it anew",
                               move_.domain, move_.uri));
  }
  HECA_RETURN_IF_ERROR(memory.status());
  memory_ = std::move(*memory);
  return {};
}

Status DomainMigration::Begin() {
  LibvirtMigration wanted{memory_.uuid, move_.uri, move_.persistent.value_or(false), move_.undefine_source.value_or(false)};
  if (!move_.persistent || !move_.undefine_source) {
    HECA_ASSIGN_OR_RETURN(const bool defined, libvirt_.IsPersistent(memory_.uuid));
    wanted.persistent = move_.persistent.value_or(defined);
    // A definition that is taken away here has to be there.
    wanted.undefine_source = move_.undefine_source.value_or(defined && wanted.persistent);
  }
  control::SteerSpec order = move_.order;
  if (order.mode || order.downtime_goal || order.bandwidth) {
    order.region = memory_.domain;
    HECA_RETURN_IF_ERROR(api_.Steer(order));
  }
  return libvirt_.Migrate(wanted);
}

Result<control::MigrationSummary> DomainMigration::Follow(control::ProgressSink& progress) {
  std::optional<Status> libvirt;
  bool called_off = false;
  while (true) {
    const bool libvirt_was_done = libvirt.has_value();
    Look();
    if (called_off) {
      progress.OnProgress({"call-off", 0, 0, ""});
    } else {
      Tell(progress, libvirt_was_done);
    }
    if (libvirt_was_done && !libvirt->ok()) return Failed(*libvirt, called_off);
    if (libvirt_was_done && called_off) {
      return Status(ErrorCode::kAborted, fmt::format("too late to call it off: '{}' runs at {}, and its memory follows; "
                                                     "`hecactl migrations` tells how far it is", memory_.domain, move_.uri));
    }
    const bool forgotten = answered_ && !known_;
    if (libvirt_was_done && (forgotten || (known_ && seen_->over))) return Done();
    if (progress.Cancelled()) {
      if (!called_off && (libvirt_was_done || HasLeft())) {
        return Status(ErrorCode::kAborted, fmt::format("only the wait ends: '{}' has changed over to {}, and its memory "
                                                       "follows; `hecactl migrations` tells how far it is",
                                                       memory_.domain, move_.uri));
      }
      // Said again until libvirt ends it: at its very beginning there is no job yet that could be called off.
      if (!HasLeft() && libvirt_.Abort(memory_.uuid).ok()) called_off = true;
    }
    if (libvirt) {
      std::this_thread::sleep_for(kLook);
    } else {
      libvirt = libvirt_.Migrated(kLook);
    }
  }
}

void DomainMigration::Look() {
  const auto departures = api_.Migrations();
  answered_ = departures.ok();  // it may be restarted meanwhile; the next one goes on
  if (!answered_) return;
  const auto mine = std::find_if(departures->rbegin(), departures->rend(), [this](const control::MigrationInfo& one) {
    return one.reached.region == memory_.domain && !before_.contains(one.image);
  });
  known_ = mine != departures->rend();
  if (known_) seen_ = *mine;
}

bool DomainMigration::HasLeft() const {
  // By the words of migration/phase.h.
  constexpr std::array<std::string_view, 3> kPastSwitch{"post-copy", "complete", "lost"};
  return seen_ && std::find(kPastSwitch.begin(), kPastSwitch.end(), seen_->progress.phase) != kPastSwitch.end();
}

void DomainMigration::Tell(control::ProgressSink& progress, bool libvirt_is_done) const {
  if (!seen_) {
    progress.OnProgress({"prepare", 0, 0, ""});
    return;
  }
  if (seen_->over && !libvirt_is_done) {
    progress.OnProgress({"finish", 0, 0, "all memory is there, libvirt is not done yet"});
    return;
  }
  control::Progress now = seen_->progress;
  if (seen_->reached.faults != 0) now.text = fmt::format("{} faults served", seen_->reached.faults);
  progress.OnProgress(now);
}

Result<control::MigrationSummary> DomainMigration::Done() const {
  if (!seen_) {
    return Status(ErrorCode::kInternal,
                  fmt::format("'{}' runs at {} now, but libvirt has moved its memory by itself: heca's hook did not take part "
                              "(tools/install puts it in place at both hosts; libvirtd has to be restarted then)",
                              memory_.domain, move_.uri));
  }
  // One that a restarted hecad does not know any more had all of its memory there.
  if (!known_ || seen_->ok) return seen_->reached;
  return Status(ErrorCode::kDataLoss, fmt::format("'{}' has left, and then: {}", memory_.domain, seen_->trouble));
}

Status DomainMigration::Failed(const Status& libvirt, bool called_off) {
  const Deadline deadline = Deadline::After(kTakenBack);
  while (known_ && !seen_->over && !HasLeft() && !deadline.Passed()) {
    std::this_thread::sleep_for(kLook);
    Look();
  }
  const auto state = libvirt_.State(memory_.uuid);
  const std::string here = fmt::format("'{}' is {} here", memory_.domain, state.ok() ? *state : "gone");
  if (called_off && state.ok() && !HasLeft()) return {ErrorCode::kAborted, "called off; " + here};
  const std::string hecad = known_ && !seen_->trouble.empty() ? "; hecad: " + seen_->trouble : "";
  return {libvirt.code(), fmt::format("{}{}; {}", libvirt.message(), hecad, here)};
}

}  // namespace heca::cli
