// SPDX-License-Identifier: LGPL-2.1-or-later
// One governed region from attach to detach: its journal record, its lease, its engine, and the VM's monitor, tied
// together and kept so across restarts of hecad.
//
//   Attach ──> active ──Limit──> active ──Detach──> gone
//                │  ▲ Resume (a restarted hecad)
//                └──> stalled (pages out of reach; the VM is stopped after loss_wait) ──> active
//
// Order at attach, and what is undone when a step fails (in reverse): book local memory, reserve a lease, journal
// (attaching), connect the store, make the page table, capture the userfaultfd, journal (active), start the engine.
// The target is touched last and left as it was. Order at detach: all pages home, the memory unregistered, the VM
// resumed if it was stopped, journal (ending), close the userfaultfd, give the lease back.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "control/node_api.h"
#include "control/region_stats.h"
#include "fault/engine.h"
#include "guest/capture.h"
#include "guest/qmp.h"
#include "guest/vm_control.h"
#include "heca/io_guard.h"
#include "node/event_log.h"
#include "node/memory_budget.h"
#include "node/node.h"
#include "node/region_record.h"
#include "node/sponsors.h"
#include "region/page_table.h"
#include "region/region_map.h"
#include "store/remote_store.h"

namespace heca::node {

/// What every session uses of its node; outlives all sessions.
struct SessionContext {
  const NodeConfig& config;
  const std::string& boot_id;  ///< of this host
  const os::UffdAbilities& abilities;
  EventLog& events;
  MemoryBudget& budget;
  const RegionJournal& journal;
  Sponsors& sponsors;
};

/// Thread-safe. Limit and Detach run one at a time (kBusy while another one runs).
class Session final : public fault::EngineObserver, public store::StoreObserver {
 public:
  static Result<std::unique_ptr<Session>> Attach(const SessionContext& context, const RegionId& region,
                                                 const control::AttachSpec& spec, control::ProgressSink& progress);
  /// Takes a region back. Does not wait for sponsor or QEMU. kNotFound: the target is gone.
  static Result<std::unique_ptr<Session>> Resume(const SessionContext& context, RegionRecord record);
  /// Leaves the region to the next hecad, unless it was detached.
  ~Session() override;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Status WaitForLimit(control::ProgressSink& progress);
  Status Limit(Bytes limit, control::ProgressSink& progress);
  Status Detach(control::ProgressSink& progress);

  /// Called by the node's housekeeping a few times a second: events, loss of pages, the monitor.
  void Tick();
  /// The target has ended: the session is to be destroyed after End().
  [[nodiscard]] bool ended() const { return target_died_.load(std::memory_order_acquire); }
  /// After Detach: only the lease is left.
  void MarkEnded() { target_died_.store(true, std::memory_order_release); }
  /// Stops the engine and gives the lease back. Unfinished (sponsor out of reach): call again later.
  Status End();

  [[nodiscard]] control::RegionInfo Info() const;
  [[nodiscard]] control::RegionStats Stats() const;
  [[nodiscard]] const RegionId& name() const { return name_; }
  [[nodiscard]] std::int32_t pid() const { return record_.pid; }  // constant after attach

  void OnEngineEvent(const fault::EngineEvent& event) override;
  void OnHealth(StoreHealth health, const Status& why) override;
  void OnLease(const control::Lease& lease) override;

 private:
  Session(const SessionContext& context, RegionRecord record);

  // session_attach.cc
  Status FindMemory(const control::AttachSpec& spec);
  Status ReserveAndConnect(const control::AttachSpec& spec);
  Status MakeGuard();
  Status CaptureAndStart();
  void RollBack();
  // session_resume.cc
  Status ResumeMemory();
  Status ResumeStore();
  // shared by both
  Status StartEngine(guest::CapturedUffd captured, region::PageTable table, fault::StartMode mode);
  [[nodiscard]] guest::Qmp* Monitor() const { return monitors_.empty() ? nullptr : monitors_.back().get(); }
  [[nodiscard]] store::RemoteOptions StoreOptions() const;
  [[nodiscard]] std::string TableStoreName() const;
  Status OpenMonitor(Deadline deadline);
  void KeepMonitor();
  // session.cc
  Status Book(Bytes limit);
  Status Journal();
  [[nodiscard]] Bytes Resident() const;
  [[nodiscard]] Bytes Size() const { return map_size_; }
  [[nodiscard]] std::uint32_t SlotsFor(Bytes limit) const;
  Status EnsureSlots(Bytes limit);
  Status FreeLease();
  void HandleEngineEvent(const fault::EngineEvent& event);
  void WatchReach();
  void StopVm(const std::string& why);
  /// Asks for it, and notes it once QEMU has done it: to be called until VmStopped() is false.
  void ResumeVm(const std::string& why);
  [[nodiscard]] bool VmStopped() const;
  void NoteVmStopped(bool stopped);
  void Tell(control::Severity severity, control::EventKind kind, std::string text) const;

  const SessionContext context_;
  const RegionId name_;

  mutable std::mutex record_mutex_;  ///< of record_ where it changes: limit, lease, vm_stopped, phase
  RegionRecord record_;

  std::unique_ptr<control::SponsorApi> sponsor_;
  std::unique_ptr<store::RemoteStore> store_;
  /// Connections to the VM's monitor, the newest last; older ones are closed and kept because the guard knows them.
  std::vector<std::unique_ptr<guest::Qmp>> monitors_;
  std::mutex vm_mutex_;  ///< of the next two: housekeeping and Detach use them
  std::unique_ptr<guest::VmControl> vm_;  ///< null: a plain process, or no monitor yet after a restart
  Clock::time_point next_resume_try_{};
  std::unique_ptr<IoGuard> guard_;
  std::optional<region::RegionMap> map_;  ///< until the engine takes it
  Bytes map_size_{0};
  Bytes page_size_{0};
  Bytes resident_at_attach_{0};  ///< what the VM had of the host's memory before its engine counted it
  unique_fd ram_fd_;  ///< of the first block, for the memory account
  std::unique_ptr<fault::RegionEngine> engine_;  ///< last: its threads use all of the above
  /// `engine_` once it is there: the memory account may ask for resident pages while an attach is under way.
  std::atomic<const fault::RegionEngine*> counting_{nullptr};

  std::mutex operation_mutex_;  ///< held by Limit and Detach
  std::mutex end_mutex_;        ///< held by End: Detach's caller and housekeeping may both come
  bool erased_ = false;         ///< by End: the name may belong to another region by now
  std::atomic<control::RegionState> state_{control::RegionState::kAttaching};
  std::atomic<bool> target_died_{false};
  std::mutex events_mutex_;
  std::deque<fault::EngineEvent> engine_events_;
  std::atomic<StoreHealth> health_{StoreHealth::kDisconnected};
  std::optional<Clock::time_point> out_of_reach_since_;  ///< housekeeping only
  std::optional<Clock::time_point> next_write_back_;     ///< housekeeping only; set: the store has refused pages
  std::atomic<std::uint64_t> lost_pages_{0};
  std::atomic<std::uint64_t> vm_stops_{0};
  Clock::time_point next_monitor_try_{};
};

}  // namespace heca::node
