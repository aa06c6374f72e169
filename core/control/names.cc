// SPDX-License-Identifier: LGPL-2.1-or-later
// The words for this room's enumerations, as JSON output and metrics show them: stable, lower case.
#include "control/migration_types.h"
#include "control/node_types.h"
#include "control/region_stats.h"
#include "control/sponsor_api.h"

namespace heca::control {

std::string_view ToString(LeaseState state) {
  switch (state) {
    case LeaseState::kInvalid: return "invalid";
    case LeaseState::kActive: return "active";
    case LeaseState::kQuarantined: return "quarantined";
  }
  return "unknown";
}

std::string_view ToString(PageLoss value) {
  switch (value) {
    case PageLoss::kInvalid: return "invalid";
    case PageLoss::kWait: return "wait";
    case PageLoss::kPoison: return "poison";
  }
  return "unknown";
}

std::string_view ToString(LostPages value) {
  switch (value) {
    case LostPages::kInvalid: return "invalid";
    case LostPages::kAskAgain: return "ask-again";
    case LostPages::kPoison: return "poison";
    case LostPages::kZero: return "zero";
  }
  return "unknown";
}

std::string_view ToString(RegionState value) {
  switch (value) {
    case RegionState::kInvalid: return "invalid";
    case RegionState::kAttaching: return "attaching";
    case RegionState::kActive: return "active";
    case RegionState::kDetaching: return "detaching";
    case RegionState::kResuming: return "resuming";
    case RegionState::kStalled: return "stalled";
    case RegionState::kEnding: return "ending";
    case RegionState::kLeaving: return "leaving";
  }
  return "unknown";
}

std::string_view ToString(StoreState value) {
  switch (value) {
    case StoreState::kInvalid: return "invalid";
    case StoreState::kGood: return "good";
    case StoreState::kDisconnected: return "disconnected";
    case StoreState::kLost: return "lost";
  }
  return "unknown";
}

std::string_view ToString(Verdict value) {
  switch (value) {
    case Verdict::kInvalid: return "invalid";
    case Verdict::kOk: return "ok";
    case Verdict::kWarn: return "warn";
    case Verdict::kFail: return "fail";
  }
  return "unknown";
}

std::string_view ToString(PeerHealth value) {
  switch (value) {
    case PeerHealth::kInvalid: return "invalid";
    case PeerHealth::kUnknown: return "not-asked-yet";
    case PeerHealth::kAlive: return "alive";
    case PeerHealth::kUnreachable: return "unreachable";
    case PeerHealth::kRestarted: return "restarted";
    case PeerHealth::kSelf: return "self";
  }
  return "unknown";
}

std::string_view ToString(Severity value) {
  switch (value) {
    case Severity::kInvalid: return "invalid";
    case Severity::kInfo: return "info";
    case Severity::kWarning: return "warning";
    case Severity::kError: return "error";
  }
  return "unknown";
}

std::string_view ToString(EventKind value) {
  switch (value) {
    case EventKind::kInvalid: return "invalid";
    case EventKind::kStarted: return "started";
    case EventKind::kStopping: return "stopping";
    case EventKind::kAttached: return "attached";
    case EventKind::kAttachFailed: return "attach-failed";
    case EventKind::kLimitChanged: return "limit-changed";
    case EventKind::kDetached: return "detached";
    case EventKind::kRegionEnded: return "region-ended";
    case EventKind::kRecovered: return "recovered";
    case EventKind::kSponsorDisconnected: return "sponsor-disconnected";
    case EventKind::kSponsorReconnected: return "sponsor-reconnected";
    case EventKind::kSponsorLost: return "sponsor-lost";
    case EventKind::kPagesLost: return "pages-lost";
    case EventKind::kVmStopped: return "vm-stopped";
    case EventKind::kVmResumed: return "vm-resumed";
    case EventKind::kOutOfMemory: return "out-of-memory";
    case EventKind::kAlarm: return "alarm";
    case EventKind::kLeaseGranted: return "lease-granted";
    case EventKind::kLeaseFreed: return "lease-freed";
    case EventKind::kLeaseQuarantined: return "lease-quarantined";
    case EventKind::kLeaseRevived: return "lease-revived";
    case EventKind::kPeerUp: return "peer-up";
    case EventKind::kPeerDown: return "peer-down";
    case EventKind::kPeerRebooted: return "peer-rebooted";
    case EventKind::kResuming: return "resuming";
    case EventKind::kResolved: return "resolved";
    case EventKind::kEarlyFault: return "early-fault";
  }
  return "unknown";
}

std::string_view ToString(MigrationMode mode) {
  switch (mode) {
    case MigrationMode::kInvalid: return "invalid";
    case MigrationMode::kPostCopy: return "post-copy";
    case MigrationMode::kHybrid: return "hybrid";
    case MigrationMode::kPreCopy: return "pre-copy";
  }
  return "unknown";
}

std::string_view ToString(ArrivalState state) {
  switch (state) {
    case ArrivalState::kInvalid: return "invalid";
    case ArrivalState::kPrepared: return "prepared";
    case ArrivalState::kOpen: return "open";
    case ArrivalState::kRunning: return "running";
    case ArrivalState::kComplete: return "complete";
    case ArrivalState::kFailed: return "failed";
  }
  return "unknown";
}

std::string_view ToString(FaultSource source) {
  switch (source) {
    case FaultSource::kInvalid: return "invalid";
    case FaultSource::kSponsor: return "sponsor";
    case FaultSource::kWriteBackBuffer: return "write-back-buffer";
    case FaultSource::kPrefetched: return "prefetched";
    case FaultSource::kZero: return "zero";
    case FaultSource::kMinor: return "minor";
    case FaultSource::kWriteProtect: return "write-protect";
  }
  return "unknown";
}

}  // namespace heca::control
