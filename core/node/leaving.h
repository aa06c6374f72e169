// SPDX-License-Identifier: LGPL-2.1-or-later
// The concrete parts of a departure (migration/departure.h): a QEMU, and the image of its memory.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "guest/migrating_vm.h"
#include "migration/departure.h"
#include "node/departures.h"
#include "store/image_sponsor.h"

namespace heca::node {

/// What is the same whoever leads QEMU's stream.
class LeavingGuest : public migration::LeavingVm {
 public:
  explicit LeavingGuest(std::shared_ptr<guest::MigratingVm> vm) : vm_(std::move(vm)) {}

  Result<bool> WaitStopped(Deadline deadline) override;
  [[nodiscard]] Clock::time_point stopped_at() const override;
  Result<std::optional<bool>> WaitDecided(Deadline deadline) override;
  Result<bool> Cancel() override;
  Status Restore() override;

 protected:
  const std::shared_ptr<guest::MigratingVm> vm_;
};

/// Raises the fence around a VM.
using RaiseFence = std::function<Status()>;

/// A QEMU whose device state hecad sends itself, to `uri`.
class LeavingQemu final : public LeavingGuest {
 public:
  LeavingQemu(std::shared_ptr<guest::MigratingVm> vm, std::string uri, RaiseFence fence)
      : LeavingGuest(std::move(vm)), uri_(std::move(uri)), fence_(std::move(fence)) {}
  Status Start() override;
  Status Continue() override;
  Status Fence() override { return fence_(); }

 private:
  const std::string uri_;
  const RaiseFence fence_;
};

/// A QEMU that libvirt leads: it has been told to leave its RAM out.
class LeavingDomain final : public LeavingGuest {
 public:
  using LeavingGuest::LeavingGuest;
  Status Start() override { return {}; }
  Status Continue() override { return {}; }
  /// libvirt ends it, and its QEMU must not wait for anybody then.
  Status Fence() override { return {}; }
};

/// Withdrawn at its end, unless it is to be kept.
class LentRam final : public migration::LentImage {
 public:
  LentRam(store::ImageSponsor& images, Departures& departures, control::Lease lease)
      : images_(images), departures_(departures), lease_(std::move(lease)) {}
  ~LentRam() override;
  LentRam(const LentRam&) = delete;
  LentRam& operator=(const LentRam&) = delete;

  [[nodiscard]] const control::Lease& lease() const override { return lease_; }
  Status Open() override;
  [[nodiscard]] Result<std::vector<control::PageRun>> Holes() const override;
  void Withdraw() override { images_.Withdraw(lease_.key.id); }
  void Keep() override { kept_ = true; }
  [[nodiscard]] bool GivenBack() const override;

 private:
  store::ImageSponsor& images_;
  Departures& departures_;
  const control::Lease lease_;
  bool kept_ = false;
};

}  // namespace heca::node
