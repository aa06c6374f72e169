// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/vm_control.h"

#include "base/log.h"

namespace heca::guest {
namespace {

constexpr Nanos kPatience = std::chrono::seconds(1);

}  // namespace

VmControl::VmControl(Qmp& qmp) : qmp_(qmp) {
  qmp_.AddListener([hold = hold_](const QmpEvent& event) {
    if (event.sequence <= hold->sent_after_event.load(std::memory_order_acquire)) return;
    HoldState expected = event.name == "STOP" ? HoldState::kSent : HoldState::kHolding;
    if (event.name == "STOP") {
      hold->state.compare_exchange_strong(expected, HoldState::kHolding);
    } else if (event.name == "RESUME") {
      hold->state.compare_exchange_strong(expected, HoldState::kNone);
    }
  });
  worker_ = std::thread([this] { Run(); });
}

VmControl::~VmControl() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  worker_.join();
}

void VmControl::Request(Wish wish) {
  {
    const std::lock_guard lock(mutex_);
    wish_ = wish;
  }
  changed_.notify_all();
}

bool VmControl::Idle() const {
  const std::lock_guard lock(mutex_);
  return wish_ == Wish::kNone && !busy_;
}

Status VmControl::Wait(Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_until(lock, deadline.when(), [this] { return wish_ == Wish::kNone && !busy_; })) {
    return Status(ErrorCode::kDeadlineExceeded, "the request to QEMU is still under way");
  }
  return last_;
}

Result<std::string> VmControl::QueryStatus(Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(const Json status, qmp_.Execute("query-status", {}, deadline));
  return TextOf(status, "status");
}

void VmControl::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || wish_ != Wish::kNone; });
    if (ending_) return;
    const Wish wish = std::exchange(wish_, Wish::kNone);
    busy_ = true;
    lock.unlock();
    Status done = CarryOut(wish);
    if (!done.ok()) Log().warn("VM at {}: {}", qmp_.SocketPath(), done.ToString());
    lock.lock();
    busy_ = false;
    last_ = std::move(done);
    changed_.notify_all();
  }
}

Status VmControl::CarryOut(Wish wish) {
  if (wish == Wish::kStopped) {
    if (HoldsStop()) return Status();
    const Result<std::string> status = QueryStatus(Deadline::After(kPatience));
    // No answer: commands of ours are still queued there, the last of them a `cont`. Any other state than running
    // (paused by an operator, io-error, migration) is not ours to end later.
    if (status.ok() && *status != "running") return Status();
    if (!status.ok() && status.status().code() != ErrorCode::kDeadlineExceeded) return status.status();
    hold_->sent_after_event.store(qmp_.EventsReceived(), std::memory_order_release);
    hold_->state.store(HoldState::kSent, std::memory_order_release);
    Status sent = qmp_.Execute("stop", {}, Deadline::After(kPatience)).status();
    if (!sent.ok() && sent.code() != ErrorCode::kDeadlineExceeded) hold_->state.store(HoldState::kNone);
    return sent;
  }
  if (!HoldsStop()) return Status();
  Status sent = qmp_.Execute("cont", {}, Deadline::After(kPatience)).status();
  if (sent.ok() || sent.code() == ErrorCode::kDeadlineExceeded) hold_->state.store(HoldState::kNone);
  return sent;
}

}  // namespace heca::guest
