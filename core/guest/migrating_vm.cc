// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/migrating_vm.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace heca::guest {
namespace {

constexpr const char* kIgnoreShared = "x-ignore-shared";
constexpr Millis kLookEvery{20};
/// A QEMU that did not do, or say, what was asked has so long to confirm that the capability is off.
constexpr std::chrono::seconds kUndoPatience{2};
/// Bytes a second. QEMU counts in tenths of a second, and takes none for no limit.
constexpr std::uint64_t kHeld = 100;
/// What libvirt sets where nobody asks for less: as many MiB as fit into 63 bits of bytes.
constexpr std::uint64_t kUnlimited = (std::uint64_t{INT64_MAX} >> 20) << 20;

StreamState Meaning(const std::string& status) {
  if (status == "none") return StreamState::kNone;
  if (status == "pre-switchover") return StreamState::kPreSwitchover;
  if (status == "device") return StreamState::kDevice;
  if (status == "completed") return StreamState::kCompleted;
  if (status == "failed" || status == "cancelled" || status == "cancelling") return StreamState::kFailed;
  return StreamState::kActive;
}

Json Capability(const char* name, bool on) { return {{"capability", name}, {"state", on}}; }

}  // namespace

std::string_view ToString(StreamState state) {
  switch (state) {
    case StreamState::kNone: return "none";
    case StreamState::kActive: return "active";
    case StreamState::kPreSwitchover: return "pre-switchover";
    case StreamState::kDevice: return "device";
    case StreamState::kCompleted: return "completed";
    case StreamState::kFailed: return "failed";
    case StreamState::kInvalid: break;
  }
  return "invalid";
}

MigratingVm::MigratingVm(std::shared_ptr<Qmp> qmp) : qmp_(std::move(qmp)) {
  qmp_->AddListener([heard = heard_](const QmpEvent& event) { Hear(*heard, event); });
}

void MigratingVm::Hear(Heard& heard, const QmpEvent& event) {
  const auto now = Clock::now();
  const std::lock_guard lock(heard.mutex);
  if (event.name == "STOP") {
    heard.moments.stopped = now;
  } else if (event.name == "RESUME") {
    heard.moments.resumed = now;
  } else if (event.name == "MIGRATION" && event.data.contains("status")) {
    heard.moments.state = Meaning(event.data["status"].get<std::string>());
  } else {
    return;
  }
  heard.changed.notify_all();
}

Result<StreamState> MigratingVm::Adopt(bool ran, Deadline deadline) {
  ran_ = ran;
  HECA_ASSIGN_OR_RETURN(const Json answer, qmp_->Execute("query-migrate", Json::object(), deadline));
  const StreamState state = Meaning(answer.value("status", "none"));
  const std::lock_guard lock(heard_->mutex);
  heard_->moments.state = state;
  return state;
}

Status MigratingVm::SetCapabilities(bool source, bool on, Deadline deadline) {
  Json capabilities = Json::array({Capability(kIgnoreShared, on)});
  if (source) capabilities.push_back(Capability("pause-before-switchover", on));
  if (on) capabilities.push_back(Capability("events", true));  // libvirt has it on always: never taken back
  return qmp_->Execute("migrate-set-capabilities", {{"capabilities", capabilities}}, deadline).status();
}

Status MigratingVm::Undo(const Status& failed) {
  const Status cleared = ClearCapabilities(Deadline::After(kUndoPatience));
  if (cleared.ok()) return failed;
  return {failed.code(), std::string(failed.message()) + "; QEMU may keep x-ignore-shared: " + std::string(cleared.message()),
          failed.scope()};
}

Status MigratingVm::LeaveOut(bool source, Deadline deadline) {
  const Status set = SetCapabilities(source, true, deadline);
  // An answer that is lost or late says nothing. QEMU takes commands in order: what is sent now takes it back.
  return set.ok() ? set : Undo(set);
}

Status MigratingVm::Start(const std::string& uri, Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(const std::string state, RunState(deadline));
  ran_ = state == "running";
  HECA_RETURN_IF_ERROR(LeaveOut(true, deadline));
  const Status started = qmp_->Execute("migrate", {{"uri", uri}}, deadline).status();
  if (!started.ok()) (void)ClearCapabilities(deadline);
  return started;
}

Status MigratingVm::LeaveOutRam(Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(const std::string state, RunState(deadline));
  ran_ = state == "running";
  leads_ = false;
  return LeaveOut(false, deadline);
}

Status MigratingVm::HoldStream(Deadline deadline) {
  held_ = true;
  return qmp_->Execute("migrate-set-parameters", {{"max-bandwidth", kHeld}}, deadline).status();
}

Result<os::RunFirst> MigratingVm::RunFirst() {
  auto threads = qmp_->Threads();
  threads.push_back(::pthread_self());
  return os::RunFirst::Request(std::move(threads));
}

Status MigratingVm::ReleaseStream(Deadline deadline) {
  if (!held_.exchange(false)) return {};
  return qmp_->Execute("migrate-set-parameters", {{"max-bandwidth", kUnlimited}}, deadline).status();
}

Status MigratingVm::Continue(Deadline deadline) {
  return qmp_->Execute("migrate-continue", {{"state", "pre-switchover"}}, deadline).status();
}

Result<bool> MigratingVm::Cancel(Deadline deadline) {
  (void)ReleaseStream(deadline);
  (void)qmp_->Execute("migrate_cancel", Json::object(), deadline);
  if (Now().state == StreamState::kNone) return true;  // it never began
  HECA_ASSIGN_OR_RETURN(const Moments over, WaitFor(StreamState::kCompleted, deadline));
  if (over.state == StreamState::kCompleted) return false;
  // QEMU continues a VM that ran by itself; whether it has yet, it does not tell.
  while (ran_) {
    HECA_ASSIGN_OR_RETURN(const std::string state, RunState(deadline));
    if (state == "running") break;
    (void)qmp_->Execute("cont", Json::object(), deadline);  // refused while the stream is being torn down
    if (deadline.Passed()) {
      return Status(ErrorCode::kDeadlineExceeded, "the VM is '" + state + "' and does not go on: continue it by hand",
                    ErrorScope::kRegion);
    }
    std::this_thread::sleep_for(kLookEvery);
  }
  return true;
}

Status MigratingVm::Listen(const std::string& uri, Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(const std::string state, RunState(deadline));
  if (state != "inmigrate") {
    return {ErrorCode::kFailedPrecondition,
            "the destination's QEMU is '" + state + "': start it with -incoming defer", ErrorScope::kRegion};
  }
  leads_ = false;
  HECA_RETURN_IF_ERROR(LeaveOut(false, deadline));
  if (uri.empty()) return {};
  const Status listening = qmp_->Execute("migrate-incoming", {{"uri", uri}}, deadline).status();
  return listening.ok() ? listening : Undo(listening);
}

Status MigratingVm::ClearCapabilities(Deadline deadline) {
  while (true) {
    const Status cleared = SetCapabilities(leads_, false, deadline);
    const auto known = qmp_->Execute("query-migrate-capabilities", Json::object(), deadline);
    if (known.ok()) {
      const bool on = std::any_of(known->begin(), known->end(), [](const Json& one) {
        return one.value("capability", "") == kIgnoreShared && one.value("state", false);
      });
      if (!on) return {};
    }
    // Refused while a stream is still being torn down.
    if (deadline.Passed() || !qmp_->Connected()) return known.ok() ? cleared : known.status();
    std::this_thread::sleep_for(kLookEvery);
  }
}

bool MigratingVm::ClearOnceItHasCome(Deadline deadline) {
  const auto state = RunState(deadline);
  return state.ok() && *state != "inmigrate" && ClearCapabilities(deadline).ok();
}

MigratingVm::Moments MigratingVm::Now() const {
  const std::lock_guard lock(heard_->mutex);
  return heard_->moments;
}

Result<MigratingVm::Moments> MigratingVm::WaitFor(StreamState wanted, Deadline deadline) const {
  std::unique_lock lock(heard_->mutex);
  while (heard_->moments.state < wanted) {
    if (!qmp_->Connected()) {
      return Status(ErrorCode::kUnavailable, "QEMU has closed its monitor: it is gone", ErrorScope::kRegion);
    }
    if (deadline.Passed()) {
      return Status(ErrorCode::kDeadlineExceeded,
                    "QEMU's migration is still '" + std::string(ToString(heard_->moments.state)) + "'", ErrorScope::kRegion);
    }
    heard_->changed.wait_until(lock, std::min(deadline.when(), Clock::now() + kLookEvery));
  }
  return heard_->moments;
}

Result<std::string> MigratingVm::RunState(Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(const Json answer, qmp_->Execute("query-status", Json::object(), deadline));
  return answer.value("status", "");
}

}  // namespace heca::guest
