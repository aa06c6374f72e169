// SPDX-License-Identifier: LGPL-2.1-or-later
// One governed region from attach to detach: its journal record, its lease, its engine, and the VM's monitor, tied
// together and kept so across restarts of hecad.
//
//   Attach ──> active ──Limit──> active ──Detach──> detaching ──> ending ──> gone
//                │  ▲                                   ▲
//                │  └──────── TakeBack ──────────┐      │ TakeBack, if the journal says so
//                └──> stalled ──Resolve──> resuming ────┘      ▲
//                      (pages out of reach; the VM is          │ a restarted hecad
//                       stopped after loss_wait) ──> active   journal
//
// Order at attach, and what is undone when a step fails (in reverse): book local memory, reserve a lease, journal
// (attaching), connect the store, make the page table, capture the userfaultfd, journal (active), start the engine.
// The target is touched last and left as it was. The order at detach: session_detach.cc.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "control/migration_types.h"
#include "control/node_api.h"
#include "control/region_stats.h"
#include "fault/engine.h"
#include "guest/capture.h"
#include "guest/fence.h"
#include "guest/qmp.h"
#include "guest/vm_control.h"
#include "node/arriving.h"
#include "node/event_log.h"
#include "node/governance.h"
#include "node/host.h"
#include "node/keeper.h"
#include "node/memory_budget.h"
#include "node/node.h"
#include "node/region_record.h"
#include "node/sponsors.h"
#include "region/page_table.h"
#include "region/region_map.h"

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

/// Thread-safe. Its Keeper calls what it inherits from Kept; Limit, Resolve and the beginning of Detach run one at a time
/// (kBusy while another one runs).
class Session final : public Kept, public Arriving, public fault::EngineObserver, public store::StoreObserver {
 public:
  static Result<std::unique_ptr<Session>> Attach(const SessionContext& context, const AttachTarget& target,
                                                 const control::AttachSpec& spec, control::ProgressSink& progress);
  /// The memory of a QEMU that waits for a VM, all of it in the image that another node lends: registered, with faults
  /// that wait until OpenArrival. session_arrive.cc tells what a crash leaves.
  static Result<std::unique_ptr<Session>> Arrive(const SessionContext& context, const AttachTarget& target,
                                                 const control::PrepareRequest& request);
  // Of a governed VM that moves to another host: session_leave.cc tells the order, and what a crash leaves.
  /// From now on nothing but Moved, Rest, HandOver, Left and Stay changes it.
  Status BeginLeave();
  [[nodiscard]] control::Governed Handed() const;
  /// While its VM runs: as LentImage::Moved.
  Result<std::vector<control::PlacedRun>> Moved(bool copied);
  /// Its VM is stopped: ends the engine, as if this hecad had crashed, and tells the last of where its pages lie.
  Result<control::Placement> Rest();
  /// Journals that another node may take the lease over.
  Status HandOver();
  /// Its VM stays: taken back as after a restart, by its Keeper. Does nothing to a region that does not leave.
  void Stay();
  /// Its VM has left with the lease: forgets the region.
  Status Left();
  /// Its VM does not run here any more, whatever it is told.
  Status RaiseFence(const std::vector<guest::AddressRange>& ram) const;

  /// A region of the journal, not governed yet: its Keeper takes it back.
  static std::unique_ptr<Session> Recall(const SessionContext& context, const RegionId& region);
  /// Leaves the region to the next hecad, unless it was detached.
  ~Session() override;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Status WaitForLimit(control::ProgressSink& progress);
  Status Limit(Bytes limit, control::ProgressSink& progress);
  /// Begins a detach, or joins the one that is under way, and waits until the guest is free. The Keeper does the work:
  /// it goes on when nobody waits any more.
  Status Detach(control::ProgressSink& progress);
  Status Resolve(control::LostPages how);

  // As Kept.
  [[nodiscard]] bool waiting() const override {
    return state_ == control::RegionState::kResuming && !leaving_ && !ended();
  }
  Status TakeBack() override;
  void NoteTrouble(const Status& why, Millis next_try) override;
  void Tick() override;
  [[nodiscard]] bool ended() const override { return ended_.load(std::memory_order_acquire); }  // and as Arriving
  Status End() override;

  // As Arriving.
  Status OpenArrival() override;
  Status Tell(control::PageNews news, const std::vector<control::PageRun>& runs) override;
  void SetPace(Bytes a_second) override;
  Status Place(const control::Placement& placement) override;
  Status Settle() override;
  [[nodiscard]] bool came_governed() const override;
  [[nodiscard]] bool holds_image() const override;
  void BringArrivalHome() override;
  void CallOffArrival() override;
  [[nodiscard]] bool detached() const override { return detach_step_ == DetachStep::kDone; }
  [[nodiscard]] std::shared_ptr<guest::Qmp> Monitor() override;
  [[nodiscard]] std::optional<fault::EngineStats> EngineNumbers() const override;

  [[nodiscard]] control::RegionInfo Info() const;
  [[nodiscard]] control::RegionStats Stats() const;
  [[nodiscard]] const RegionId& name() const { return name_; }
  [[nodiscard]] std::int32_t pid() const;

  void OnEngineEvent(const fault::EngineEvent& event) override;
  void OnHealth(StoreHealth health, const Status& why) override;
  void OnLease(const control::Lease& lease) override;

 private:
  /// session_detach.cc has the table.
  enum class DetachStep : std::uint8_t { kNone, kHome, kContinueVm, kRelease, kDone };

  Session(const SessionContext& context, RegionRecord record);

  // session_attach.cc
  static Result<RegionRecord> NewRecord(const AttachTarget& target, const control::AttachSpec& spec);
  Status FindMemory(const control::AttachSpec& spec);
  Status ReserveAndConnect(const control::AttachSpec& spec);
  Status Connect(const std::string& sponsor, const std::string& address, const control::Lease& lease);
  /// Limit, Resolve and Detach of a VM that is on its way are kBusy.
  [[nodiscard]] Status CheckSettled() const;
  [[nodiscard]] Status IsLeaving() const;
  Status CaptureAndStart();
  void RollBack();
  // session_arrive.cc
  static constexpr Millis kNewsPatience{2'500};  ///< the source waits 3 s for the answer
  Status CheckItWaits() const;
  Status CompareBlocks(const control::PrepareRequest& request) const;
  Status CaptureForArrival();
  /// Of the VM that is to come; none where QEMU does not tell: its waits are counted, no more depends on it.
  [[nodiscard]] std::vector<std::int32_t> VcpuThreads();
  Status ConnectGoverned(const control::PrepareRequest& request);
  Status OpenGoverned(Governance& governance);
  /// Where the lease is its former host's still, it is left alone, and only the image is to be given back.
  void LeaveLease();
  /// Gives the image back once nothing of it is needed, and finds a VM that runs.
  void StepArrival(Governance& governance);
  void ReturnImage(Governance& governance);
  [[nodiscard]] RecordPhase phase() const;
  /// True once its process is gone.
  /// The memory of a VM that is to come, and was not let go yet by the host that has it: a VM that ran here would find zeros.
  [[nodiscard]] bool MemoryIsElsewhere() const;
  /// Parts of the VM may be in the QEMU that waits, and it might run if nobody keeps it.
  [[nodiscard]] bool StreamHasBegun();
  /// Asked to, else killed: it may be waiting for a page. False: it is still there.
  [[nodiscard]] bool EndWaitingQemu();
  // session_resume.cc
  Status ReadRecord();
  Status CloseWhatEnded(bool alive);
  Status ResumeMemory();
  Status ResumeStore();
  // session_detach.cc
  Status BeginDetach();
  void StepDetach();
  void Release(Governance& governance);
  // shared by attach and resume
  Status MakeGuard(std::shared_ptr<guest::Qmp> monitor);
  Status StartEngine(guest::CapturedUffd captured, region::PageTable table, fault::StartMode mode);
  [[nodiscard]] store::RemoteOptions StoreOptions(const LeaseRecord& lease) const;
  /// Journals that the lease is to be taken over, unless that is done already, and tells how.
  Result<control::TakeOverRequest> ClaimLease(LeaseRecord& lease, bool back);
  [[nodiscard]] std::string TableStoreName() const;
  // session_monitor.cc
  Status OpenMonitor(Deadline deadline);
  void KeepMonitor();
  /// A hecad that prepared for the VM and died may have left x-ignore-shared on: a save would write an image without RAM. Until
  /// QEMU has confirmed that it is off.
  void ClearLeftOut();
  void StopVm(const std::string& why);
  /// Asks for it, and notes it once QEMU has done it: to be called until VmStopped() is false.
  void ResumeVm(const std::string& why);
  [[nodiscard]] bool VmStopped() const;
  void NoteVmStopped(bool stopped);
  // session.cc
  [[nodiscard]] std::shared_ptr<Governance> Governing() const;
  /// As Governing, with an error for callers who need it.
  [[nodiscard]] Result<std::shared_ptr<Governance>> Governed() const;
  void Publish(std::shared_ptr<Governance> governance);
  Status Book(Bytes limit);
  Status Journal();
  /// The one place where a region is noted as ending: from now on a restarted hecad only gives back what is left. To be
  /// done before the userfaultfd goes: a hecad that finds "active" would look for it, and govern the memory again.
  Status NoteEnding();
  [[nodiscard]] Bytes Resident() const;
  [[nodiscard]] Bytes Size() const { return map_size_; }
  [[nodiscard]] std::uint32_t SlotsFor(Bytes limit) const;
  /// What the engine is told. All of the region means that nothing leaves, not even for headroom below the limit.
  [[nodiscard]] PageCount EngineLimit(Bytes limit) const;
  Status EnsureSlots(Governance& governance, Bytes limit);
  /// Gives back what is this node's: the only place that does.
  Status FreeLease();
  // session_events.cc
  void HandleEngineEvent(const fault::EngineEvent& event, Governance& governance);
  void TellOfEarlyFault(const fault::EngineEvent& event);
  void WatchReach(Governance& governance);
  void Tell(control::Severity severity, control::EventKind kind, std::string text) const;

  /// What the store of the image tells: it is the other node's, and no page of it is lost as long as that lives.
  class ImageWatch final : public store::StoreObserver {
   public:
    explicit ImageWatch(Session& session) : session_(session) {}
    void OnHealth(StoreHealth health, const Status& why) override;
    void OnLease(const control::Lease& lease) override;

   private:
    Session& session_;
  };

  const SessionContext context_;
  const RegionId name_;
  ImageWatch image_watch_{*this};

  /// Of record_ where it changes (limit, lease, vm_stopped, phase), of trouble_ and early_fault_, and of all that the record
  /// says until the region is governed.
  mutable std::mutex record_mutex_;
  RegionRecord record_;
  bool record_read_ = true;  ///< false: the journal's could not be read yet
  std::string trouble_;      ///< why it is not taken back, or why detach stands still
  std::string early_fault_;  ///< the last thread that touched its memory before it was open

  /// The connection to the VM's monitor; null: a plain process, or not connected. Shared with the I/O guard, which may
  /// be asking the former one when it is replaced.
  std::shared_ptr<guest::Qmp> monitor_;
  std::mutex vm_mutex_;  ///< of monitor_ where it changes, and of the next two: Keeper and attach use them
  std::unique_ptr<guest::VmControl> vm_;  ///< null: a plain process, or no monitor yet after a restart
  Clock::time_point next_resume_try_{};
  Clock::time_point next_monitor_try_{};  ///< Keeper only
  std::optional<Clock::time_point> left_out_since_;  ///< set: ClearLeftOut has something to do; Keeper only
  Clock::time_point next_clear_try_{};    ///< Keeper only

  std::optional<region::RegionMap> map_;  ///< until the engine takes it
  Bytes map_size_{0};
  Bytes page_size_{0};
  Bytes resident_at_attach_{0};  ///< what the VM had of the host's memory before its engine counted it
  unique_fd ram_fd_;  ///< of the first block, for the memory account

  std::mutex operation_mutex_;  ///< held by what changes it as a whole: Limit, BeginDetach, TakeBack, CallOffArrival, End, ...
  std::mutex end_mutex_;        ///< held by End: Detach's caller and the Keeper may both come; taken before operation_mutex_
  std::atomic<bool> erased_{false};  ///< by End: the name may belong to another region by now
  std::atomic<control::RegionState> state_{control::RegionState::kAttaching};
  std::atomic<bool> ended_{false};
  std::atomic<bool> leaving_{false};
  bool placed_ = false;                 ///< where all pages lie is known; under operation_mutex_
  std::uint64_t placement_ = 0;         ///< number of the last that was told of it; the same
  Clock::time_point next_arrival_look_{};  ///< Keeper only
  std::atomic<DetachStep> detach_step_{DetachStep::kNone};
  Deadline detach_patience_ = Deadline::After(Millis(0));  ///< Keeper only
  std::mutex events_mutex_;
  std::deque<fault::EngineEvent> engine_events_;
  std::atomic<StoreHealth> health_{StoreHealth::kDisconnected};
  std::optional<Clock::time_point> out_of_reach_since_;  ///< Keeper only
  std::optional<Clock::time_point> next_write_back_;     ///< Keeper only; set: the store has refused pages
  std::atomic<std::uint64_t> lost_pages_{0};
  std::atomic<std::uint64_t> vm_stops_{0};

  /// What is being made; then the same as governing_. Touched by the thread that attaches, and then under operation_mutex_, or
  /// by End once it has ended.
  std::shared_ptr<Governance> making_;
  mutable std::mutex governing_mutex_;
  /// With an engine. Shared with questions under way: a region may be taken back anew while one is asked.
  std::shared_ptr<Governance> governing_;
};

}  // namespace heca::node
