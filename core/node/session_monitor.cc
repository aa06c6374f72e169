// SPDX-License-Identifier: LGPL-2.1-or-later
// The VM's monitor, and what is asked of it: to stop while pages are out of reach, to go on, and when disk I/O is over
// (the guard asks that itself). After a take-over it is connected behind the engine's start: nobody waits for QEMU.
#include <string>
#include <utility>

#include "base/log.h"
#include "guest/migrating_vm.h"
#include "node/session.h"

namespace heca::node {

using control::EventKind;
using control::Severity;

namespace {

/// The VM's monitor is asked for this often until it answers, each time for so long: QEMU may be waiting for a page.
constexpr Millis kMonitorEvery{2000};
constexpr Millis kMonitorPatience{1000};
/// Between two attempts to clear what a migration has set; the Keeper has other regions.
constexpr Millis kClearEvery{500};
constexpr Millis kClearPatience{200};
/// Between two requests to QEMU to continue the VM.
constexpr Millis kResumeEvery{1000};

}  // namespace

Status Session::OpenMonitor(Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(std::shared_ptr<guest::Qmp> monitor, guest::Qmp::Connect(record_.qmp_socket, deadline));
  {
    const std::lock_guard lock(vm_mutex_);
    vm_.reset();  // it knows the former monitor
    monitor_ = monitor;
    vm_ = std::make_unique<guest::VmControl>(*monitor_);
    if (VmStopped()) vm_->AdoptStop();
  }
  if (const auto governance = Governing()) governance->guard->UseMonitor(std::move(monitor));
  return Status();
}

void Session::KeepMonitor() {
  if (record_.qmp_socket.empty() || (monitor_ && monitor_->Connected())) return;
  const auto now = Clock::now();
  if (now < next_monitor_try_) return;
  next_monitor_try_ = now + kMonitorEvery;
  if (const Status opened = OpenMonitor(Deadline::After(kMonitorPatience)); !opened.ok()) {
    Log().debug("{}: no monitor yet: {}", name_, opened.ToString());
  } else {
    Log().info("{}: the VM's monitor is connected again", name_);
  }
}

void Session::ClearLeftOut() {
  if (!left_out_since_ || Clock::now() < next_clear_try_) return;
  next_clear_try_ = Clock::now() + kClearEvery;
  const auto monitor = Monitor();
  const std::unique_lock operation(operation_mutex_, std::try_to_lock);
  if (!monitor || !operation || leaving_) return;  // one that leaves needs it on, and clears it at its end
  if (guest::MigratingVm(monitor).ClearOnceItHasCome(Deadline::After(kClearPatience))) left_out_since_.reset();
}

bool Session::VmStopped() const {
  const std::lock_guard lock(record_mutex_);
  return record_.vm_stopped;
}

void Session::NoteVmStopped(bool stopped) {
  {
    const std::lock_guard lock(record_mutex_);
    record_.vm_stopped = stopped;
  }
  if (const Status written = Journal(); !written.ok()) Log().error("{}: {}", name_, written.ToString());
}

void Session::StopVm(const std::string& why) {
  const std::lock_guard lock(vm_mutex_);
  if (!vm_ || VmStopped()) return;
  NoteVmStopped(true);  // first: what is noted and not stopped costs nothing
  vm_->RequestStop();
  ++vm_stops_;
  Tell(Severity::kError, EventKind::kVmStopped, "the VM is stopped: " + why);
}

void Session::ResumeVm(const std::string& why) {
  const std::lock_guard lock(vm_mutex_);
  if (!vm_ || !VmStopped() || !vm_->Idle()) return;
  if (vm_->HoldsStop()) {
    const auto now = Clock::now();
    if (now < next_resume_try_) return;
    next_resume_try_ = now + kResumeEvery;
    vm_->RequestResume();
    return;
  }
  NoteVmStopped(false);  // last: a hecad that dies before it leaves the VM to the next one
  next_resume_try_ = {};
  Tell(Severity::kInfo, EventKind::kVmResumed, "the VM runs again: " + why);
}

}  // namespace heca::node
