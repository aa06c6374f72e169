// SPDX-License-Identifier: LGPL-2.1-or-later
// What one data connection sees of a lease, and how the sponsor makes sure that a connection is over.
//
// The owner names its connections (role, stream). When a connection breaks, the owner opens its successor under the
// same name and sends again what was in flight. The danger is the old connection: bytes that still lie in its
// socket at the sponsor could release or fill a slot after the successor has reused it. So the sponsor fences the
// old view (everything it is asked from then on is refused, its server closes it) and admits the successor only when
// the old view is *destroyed*: a server drops its pointer when no thread of it can touch a span any more. Every
// operation of the old connection has therefore either taken effect before the first of the successor, or never will:
//  * a repeated Write finds its slot written by the first attempt (skipped) or unwritten (done now);
//  * a repeated Release is idempotent, and nothing reuses its slot before the owner saw it complete;
//  * a reuse of the slot starts after that completion, thus on the successor or later, when the old one is dead.
// The same wait makes a take-over final: no write of an earlier epoch can land after TakeOver has answered.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "store/leased_memory.h"
#include "transport/server.h"

namespace heca::store {

/// The owner's name for a connection.
struct StreamName {
  Role role = Role::kInvalid;
  std::uint32_t stream = 0;
  bool operator==(const StreamName&) const = default;
};

class LeaseView;

/// The living views of one lease. Thread-safe. Views keep it alive (shared_ptr): they can outlive the lease.
class ViewBoard : public std::enable_shared_from_this<ViewBoard> {
 public:
  explicit ViewBoard(std::shared_ptr<LeasedMemory> memory) : memory_(std::move(memory)) {}

  /// kBusy while a view of the same name lives; kPermissionDenied if `epoch` is not the lease's, or after Close.
  Result<std::shared_ptr<transport::SlotMemory>> Open(StreamName name, Epoch epoch);
  /// Fences the views of this name and waits until they are gone; kBusy when that takes longer than the deadline.
  Status End(StreamName name, Deadline deadline);
  /// The same for all views.
  Status EndAll(Deadline deadline);
  /// Fences every view, refuses new ones and lets go of the memory; does not wait.
  void Close();
  [[nodiscard]] std::size_t Living() const;

 private:
  friend class LeaseView;
  template <class Which>
  Status EndWhich(Which which, Deadline deadline);
  void Remove(const LeaseView* view);

  mutable std::mutex mutex_;
  std::condition_variable gone_;
  std::shared_ptr<LeasedMemory> memory_;  ///< null once closed
  std::vector<LeaseView*> living_;
};

/// One connection's SlotMemory. Thread-safe and lock-free, except for its destruction.
class LeaseView : public transport::SlotMemory {
 public:
  LeaseView(std::shared_ptr<ViewBoard> board, std::shared_ptr<LeasedMemory> memory, StreamName name, Epoch epoch);
  ~LeaseView() override;
  LeaseView(const LeaseView&) = delete;
  LeaseView& operator=(const LeaseView&) = delete;

  [[nodiscard]] Bytes PageSize() const override { return memory_->PageSize(); }
  [[nodiscard]] std::uint32_t SlotCount() const override { return memory_->SlotCount(); }
  Result<std::span<const std::byte>> ForRead(Slot slot) override;
  Result<std::span<std::byte>> BeginWrite(Slot slot, transport::Attempt attempt) override;
  void CommitWrite(Slot slot) override;
  Status Release(Slot slot) override;
  [[nodiscard]] transport::Reachable ToReach() const override { return {memory_->Extents(), memory_}; }
  [[nodiscard]] bool StillOwnedBy(Epoch epoch) const override { return epoch == epoch_ && Open(); }

 private:
  friend class ViewBoard;
  [[nodiscard]] bool Open() const {
    return !fenced_.load(std::memory_order_acquire) && memory_->epoch() == epoch_;
  }
  void Fence() { fenced_.store(true, std::memory_order_release); }
  [[nodiscard]] Status Refusal() const;

  const std::shared_ptr<ViewBoard> board_;
  const std::shared_ptr<LeasedMemory> memory_;
  const StreamName name_;
  const Epoch epoch_;
  std::atomic<bool> fenced_{false};
};

}  // namespace heca::store
