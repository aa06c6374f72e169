// SPDX-License-Identifier: LGPL-2.1-or-later
// A lease's memory and the admission to it, in the heap: for tests of transports.
#pragma once

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/check.h"
#include "transport/channel.h"
#include "transport/server.h"

namespace heca::test_support {

/// Thread-safe. Slots are laid out in order, so neighbours are contiguous, as in a slab.
class FakeSlotMemory final : public transport::SlotMemory, public std::enable_shared_from_this<FakeSlotMemory> {
 public:
  FakeSlotMemory(Bytes page_size, std::uint32_t slots, Epoch owner)
      : page_size_(page_size), owner_(owner) {
    marks_.reserve(kMostFor * slots);  // what is there stays where it is
    bytes_.reserve(kMostFor * slots * page_size.value());
    Grow(slots);
  }
  /// To kMostFor times as many as it began with.
  void Grow(std::uint32_t slots) {
    const std::lock_guard lock(mutex_);
    HECA_CHECK(marks_.size() + slots <= marks_.capacity());
    marks_.resize(marks_.size() + slots);
    bytes_.resize(marks_.size() * page_size_.value());
  }
  /// From now on a device may reach it, which asks nobody, in pieces of so many slots: before it is admitted.
  void LetBeReached(std::uint32_t piece) { piece_ = piece; }

  [[nodiscard]] Bytes PageSize() const override { return page_size_; }
  [[nodiscard]] std::uint32_t SlotCount() const override {
    const std::lock_guard lock(mutex_);
    return static_cast<std::uint32_t>(marks_.size());
  }

  Result<std::span<const std::byte>> ForRead(Slot slot) override {
    std::unique_lock lock(mutex_);
    let_go_.wait(lock, [this] { return !held_; });
    if (!Exists(slot)) return NoSuchSlot();
    if (!Written(slot)) return Status(ErrorCode::kDataLoss, "not written");
    return std::span<const std::byte>(At(slot));
  }
  Result<std::span<std::byte>> BeginWrite(Slot slot, transport::Attempt attempt) override {
    const std::lock_guard lock(mutex_);
    if (!Exists(slot)) return NoSuchSlot();
    if (!Written(slot)) return At(slot);
    if (attempt == transport::Attempt::kRepeated) return std::span<std::byte>();
    return Status(ErrorCode::kAlreadyExists, "written");
  }
  void CommitWrite(Slot slot) override {
    const std::lock_guard lock(mutex_);
    marks_[slot.value() - 1] = std::byte{1};
  }
  Status Release(Slot slot) override {
    const std::lock_guard lock(mutex_);
    if (!Exists(slot)) return NoSuchSlot();
    marks_[slot.value() - 1] = std::byte{0};
    return {};
  }
  [[nodiscard]] transport::Reachable ToReach() const override {
    const std::lock_guard lock(mutex_);
    transport::Reachable reachable{{}, shared_from_this()};
    for (std::size_t at = 0; piece_ != 0 && at < marks_.size(); at += piece_) {
      const std::size_t count = std::min<std::size_t>(piece_, marks_.size() - at);
      reachable.extents.push_back({Slot(static_cast<std::uint32_t>(at + 1)),
                                   std::span(bytes_).subspan(at * page_size_.value(), count * page_size_.value()),
                                   std::span(marks_).subspan(at, count)});
    }
    return reachable;
  }
  [[nodiscard]] bool StillOwnedBy(Epoch epoch) const override {
    const std::lock_guard lock(mutex_);
    return epoch == owner_;
  }

  void SetOwner(Epoch epoch) {
    const std::lock_guard lock(mutex_);
    owner_ = epoch;
  }
  [[nodiscard]] bool IsWritten(Slot slot) const {
    const std::lock_guard lock(mutex_);
    return Written(slot);
  }
  /// Its mark becomes what none is.
  void Spoil(Slot slot) {
    const std::lock_guard lock(mutex_);
    marks_[slot.value() - 1] = std::byte{0x5C};
  }
  /// ForRead waits until LetGo.
  void Hold() {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }
  void LetGo() {
    const std::lock_guard lock(mutex_);
    held_ = false;
    let_go_.notify_all();
  }

 private:
  static constexpr std::uint32_t kMostFor = 8;
  [[nodiscard]] bool Exists(Slot slot) const { return slot != kNoSlot && slot.value() <= marks_.size(); }
  [[nodiscard]] bool Written(Slot slot) const { return marks_[slot.value() - 1] != std::byte{0}; }
  std::span<std::byte> At(Slot slot) {
    return std::span(bytes_).subspan((slot.value() - 1) * page_size_.value(), page_size_.value());
  }
  static Status NoSuchSlot() { return {ErrorCode::kInvalidArgument, "no such slot"}; }

  const Bytes page_size_;
  mutable std::mutex mutex_;
  std::condition_variable let_go_;
  bool held_ = false;
  Epoch owner_;
  std::uint32_t piece_ = 0;  ///< slots; 0: no device reaches it
  mutable std::vector<std::byte> marks_;
  mutable std::vector<std::byte> bytes_;
};

/// Thread-safe. Hands out tokens that are good for one hello each.
class FakeAdmission final : public transport::Admission {
 public:
  /// A hello that will be admitted once, to `memory`.
  transport::Hello Expect(LeaseId lease, Epoch epoch, Role role, std::shared_ptr<FakeSlotMemory> memory) {
    const std::lock_guard lock(mutex_);
    transport::Hello hello{{}, lease, epoch, role};
    ++last_token_;
    std::memcpy(hello.token.data(), &last_token_, sizeof last_token_);
    expected_[hello.token] = {hello, std::move(memory)};
    return hello;
  }

  Result<std::shared_ptr<transport::SlotMemory>> Admit(const transport::Hello& hello) override {
    const std::lock_guard lock(mutex_);
    const auto found = expected_.find(hello.token);
    if (found == expected_.end()) return Status(ErrorCode::kPermissionDenied, "unknown token");
    const auto [wanted, memory] = found->second;
    expected_.erase(found);
    if (hello.lease != wanted.lease || hello.epoch != wanted.epoch || hello.role != wanted.role) {
      return Status(ErrorCode::kPermissionDenied, "the token is for another lease, epoch or role");
    }
    return std::shared_ptr<transport::SlotMemory>(memory);
  }

 private:
  struct Expected {
    transport::Hello hello;
    std::shared_ptr<FakeSlotMemory> memory;
  };
  std::mutex mutex_;
  std::uint64_t last_token_ = 0;
  std::map<transport::Token, Expected> expected_;
};

}  // namespace heca::test_support
