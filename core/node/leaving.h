// SPDX-License-Identifier: LGPL-2.1-or-later
// The concrete parts of a departure (migration/departure.h): a QEMU, and the image of its memory.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "guest/migrating_vm.h"
#include "migration/leaving_vm.h"
#include "node/departures.h"
#include "node/leaving_region.h"
#include "node/write_notes.h"
#include "store/image_sponsor.h"

namespace heca::node {

/// What is the same whoever leads QEMU's stream.
class LeavingGuest : public migration::LeavingVm {
 public:
  LeavingGuest(std::shared_ptr<guest::MigratingVm> vm, WriteNotes notes) : vm_(std::move(vm)), notes_(std::move(notes)) {}

  Status HoldBack() override { return {}; }
  Status NoteWrites() override { return notes_.Begin(); }
  Result<std::vector<control::PageRun>> Written() override { return notes_.Written(false); }
  Result<std::vector<control::PageRun>> WrittenLast() override { return notes_.Written(true); }
  Status AwaitDevices() override { return notes_.AwaitDevices(); }
  Status ForgetWrites() override { return notes_.End(); }
  Result<bool> WaitStopped(Deadline deadline) override;
  [[nodiscard]] Clock::time_point stopped_at() const override;
  Result<std::optional<bool>> WaitDecided(Deadline deadline) override;
  Result<bool> Cancel() override;
  Status Restore() override;

 protected:
  const std::shared_ptr<guest::MigratingVm> vm_;

 private:
  WriteNotes notes_;
};

/// Raises the fence around a VM.
using RaiseFence = std::function<Status()>;

/// A QEMU whose device state hecad sends itself, to `uri`.
class LeavingQemu final : public LeavingGuest {
 public:
  LeavingQemu(std::shared_ptr<guest::MigratingVm> vm, WriteNotes notes, std::string uri, RaiseFence fence)
      : LeavingGuest(std::move(vm), std::move(notes)), uri_(std::move(uri)), fence_(std::move(fence)) {}
  Status Start() override;
  Status Continue() override;
  Status Fence() override { return fence_(); }

 private:
  const std::string uri_;
  const RaiseFence fence_;
};

/// A QEMU that libvirt leads: it has been told to leave its RAM out. libvirt begins to send its state while its memory is
/// still copied ahead; so from then on until Start the stream is held back. Where that comes too late, the VM stops and its
/// memory follows.
class LeavingDomain final : public LeavingGuest {
 public:
  static constexpr std::chrono::seconds kBeginPatience{30};

  using LeavingGuest::LeavingGuest;
  ~LeavingDomain() override;
  LeavingDomain(const LeavingDomain&) = delete;
  LeavingDomain& operator=(const LeavingDomain&) = delete;
  Status HoldBack() override;
  Status Start() override;
  /// An error too if libvirt has not begun in half a minute: it may have given up without a word.
  Result<bool> WaitStopped(Deadline deadline) override;
  Result<bool> Cancel() override;
  Status Continue() override { return {}; }
  /// libvirt ends it, and its QEMU must not wait for anybody then.
  Status Fence() override { return {}; }

 private:
  void LetGo();
  const Deadline begins_ = Deadline::After(kBeginPatience);
  std::atomic<bool> let_go_{false};
  std::thread holder_;
};

/// Withdrawn at its end, unless it is to be kept; of a VM that is governed it is only a part, and the region goes with it.
class LentRam final : public migration::LentImage {
 public:
  /// `region` may be null.
  LentRam(store::ImageSponsor& images, Departures& departures, control::Lease lease, std::unique_ptr<LeavingRegion> region)
      : images_(images), departures_(departures), lease_(std::move(lease)), region_(std::move(region)) {}
  ~LentRam() override;
  LentRam(const LentRam&) = delete;
  LentRam& operator=(const LentRam&) = delete;

  [[nodiscard]] const control::Lease& lease() const override { return lease_; }
  Status Show() override { return images_.OpenImage(lease_.key.id); }
  Result<std::optional<control::Placement>> Moved(bool copied) override;
  Result<std::optional<control::Placement>> Rest() override;
  Status Open() override;
  [[nodiscard]] Result<std::vector<control::PageRun>> Holes() const override;
  void Withdraw() override;
  void Keep() override;
  [[nodiscard]] bool GivenBack() const override;
  /// Its VM does not run here any more; only of a VM that is governed.
  Status RaiseFence(const std::vector<guest::AddressRange>& ram) { return region_->session().RaiseFence(ram); }

 private:
  void NotePlaces(const std::vector<control::PlacedRun>& runs);

  store::ImageSponsor& images_;
  Departures& departures_;
  const control::Lease lease_;
  const std::unique_ptr<LeavingRegion> region_;
  std::vector<bool> elsewhere_;  ///< by page; empty: none is
  bool kept_ = false;
};

}  // namespace heca::node
