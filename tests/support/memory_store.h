// SPDX-License-Identifier: LGPL-2.1-or-later
// A PageStore in memory that other processes can share (fork), with delay, disconnection and loss on demand. It keeps
// the contract of heca/page_store.h strictly: writing a written slot and reading an unwritten one are violations,
// counted, and answered as the contract says.
#pragma once

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/unique_fd.h"
#include "heca/page_store.h"

namespace heca::test {

/// Copies whole words of memory that may change meanwhile, as the RAM of a running VM does.
inline void CopyWhileItMayChange(std::byte* to, const std::byte* from, std::size_t size) {
  for (std::size_t at = 0; at < size; at += sizeof(std::uint64_t)) {
    const std::uint64_t word = __atomic_load_n(reinterpret_cast<const std::uint64_t*>(from + at), __ATOMIC_RELAXED);
    std::memcpy(to + at, &word, sizeof(word));
  }
}

/// What survives the death of a process: the slots, and the switches of the tests.
class MemoryArena {
 public:
  MemoryArena(Bytes page_size, std::uint32_t slots) : page_size_(page_size), slots_(slots) {
    size_ = FirstPage() + (std::size_t{slots} + 1) * page_size.value();
    void* memory = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    HECA_CHECK(memory != MAP_FAILED);
    memory_ = static_cast<std::byte*>(memory);
    switches_ = new (memory_) Switches;
  }
  ~MemoryArena() { ::munmap(memory_, size_); }
  MemoryArena(const MemoryArena&) = delete;
  MemoryArena& operator=(const MemoryArena&) = delete;

  struct Switches {
    std::atomic<bool> disconnected{false};
    std::atomic<bool> refuse_writes{false};
    std::atomic<bool> over{false};              ///< ended for good: no read can even be started
    std::atomic<bool> read_at_start{false};     ///< an answer holds what the slot held when it was asked for
    std::atomic<std::uint64_t> delay_ns{0};
    std::atomic<std::uint64_t> violations{0};   ///< overwritten slots, pages from elsewhere than was told
    std::atomic<std::uint64_t> lost_reads{0};   ///< reads of slots that are not there
    std::atomic<std::uint32_t> last_offered{kNoSlot.value()};  ///< slot last given to be written, acknowledged or not
    std::atomic<std::uint64_t> written{0}, read{0}, released{0};
  };
  Switches& switches() { return *switches_; }
  [[nodiscard]] Bytes page_size() const { return page_size_; }
  [[nodiscard]] std::uint32_t slots() const { return slots_; }

  std::atomic<std::uint8_t>& Present(Slot slot) {
    return *reinterpret_cast<std::atomic<std::uint8_t>*>(memory_ + kSwitches + slot.value());
  }
  std::byte* Page(Slot slot) {
    return memory_ + FirstPage() + std::size_t{slot.value()} * page_size_.value();
  }
  [[nodiscard]] std::uint32_t CountPresent() {
    std::uint32_t count = 0;
    for (std::uint32_t slot = 1; slot <= slots_; ++slot) count += Present(Slot(slot)).load() == 1 ? 1 : 0;
    return count;
  }
  /// The sponsor's memory is gone for these slots, until FindAll.
  void LoseAll() {
    for (std::uint32_t slot = 1; slot <= slots_; ++slot) {
      std::uint8_t there = 1;
      Present(Slot(slot)).compare_exchange_strong(there, 2);
    }
  }
  void FindAll() {
    for (std::uint32_t slot = 1; slot <= slots_; ++slot) {
      std::uint8_t lost = 2;
      Present(Slot(slot)).compare_exchange_strong(lost, 1);
    }
  }

 private:
  static constexpr std::size_t kSwitches = 4096;
  /// Behind a byte for each slot; aligned as pages are.
  [[nodiscard]] std::size_t FirstPage() const { return kSwitches + (slots_ + kSwitches) / kSwitches * kSwitches; }
  Bytes page_size_;
  std::uint32_t slots_;
  std::size_t size_ = 0;
  std::byte* memory_ = nullptr;
  Switches* switches_ = nullptr;
};

/// Operations in flight of one reader or writer. One thread.
class MemoryQueue {
 public:
  enum class Kind { kRead, kWrite, kRelease };
  struct Operation {
    Kind kind;
    OpTag tag;
    std::vector<Slot> slots;
    std::span<const std::byte> pages;
    Clock::time_point due;
    std::vector<std::byte> read{};  ///< by a read that was answered when it was started
  };
  explicit MemoryQueue(MemoryArena& arena) : arena_(arena), event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  Status Start(Kind kind, OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages) {
    if (operations_.size() >= kCredits) return Status(ErrorCode::kBusy, "no credit");
    const auto delay = Nanos(arena_.switches().delay_ns.load());
    operations_.push_back({kind, tag, {slots.begin(), slots.end()}, pages, Clock::now() + delay});
    if (kind == Kind::kRead && arena_.switches().read_at_start.load()) {
      for (const Slot slot : slots) {
        std::vector<std::byte>& read = operations_.back().read;
        read.resize(read.size() + arena_.page_size().value());
        CopyWhileItMayChange(read.data() + read.size() - arena_.page_size().value(), arena_.Page(slot),
                             arena_.page_size().value());
      }
    }
    if (kind == Kind::kWrite) arena_.switches().last_offered = slots.back().value();
    const std::uint64_t one = 1;
    HECA_CHECK(::write(event_.get(), &one, sizeof(one)) == sizeof(one));
    return Status();
  }
  /// The next operation that is due, if the store can be reached.
  [[nodiscard]] std::optional<Operation> Next() {
    if (operations_.empty() || arena_.switches().disconnected.load() || operations_.front().due > Clock::now()) {
      return std::nullopt;
    }
    Operation operation = std::move(operations_.front());
    operations_.pop_front();
    std::uint64_t count = 0;
    if (operations_.empty()) (void)!::read(event_.get(), &count, sizeof(count));
    return operation;
  }
  [[nodiscard]] PollNeed Need() const {
    if (operations_.empty()) return {event_.get(), POLLIN, -1};
    const bool waits = arena_.switches().disconnected.load() || operations_.front().due > Clock::now();
    return waits ? PollNeed{-1, 0, 1} : PollNeed{event_.get(), POLLIN, -1};
  }

 private:
  static constexpr std::size_t kCredits = 32;
  MemoryArena& arena_;
  unique_fd event_;
  std::deque<Operation> operations_;
};

class MemoryReader final : public PageReader {
 public:
  explicit MemoryReader(MemoryArena& arena) : arena_(arena), queue_(arena) {}
  Status Start(OpTag tag, std::span<const Slot> slots) override {
    if (arena_.switches().over.load()) return Status(ErrorCode::kDataLoss, "the store has lost everything");
    return queue_.Start(MemoryQueue::Kind::kRead, tag, slots, {});
  }
  std::size_t Poll(ReadSink& sink) override {
    std::size_t delivered = 0;
    while (auto operation = queue_.Next()) {
      ++delivered;
      const std::size_t page_size = arena_.page_size().value();
      std::vector<std::byte> pages(operation->slots.size() * page_size);
      bool there = true;
      for (std::size_t i = 0; i < operation->slots.size() && there; ++i) {
        const Slot slot = operation->slots[i];
        there = slot != kNoSlot && slot.value() <= arena_.slots() && arena_.Present(slot).load() == 1;
        if (there) CopyWhileItMayChange(pages.data() + i * page_size, arena_.Page(slot), page_size);
      }
      if (!operation->read.empty()) pages = std::move(operation->read);
      arena_.switches().read += operation->slots.size();
      if (there) {
        sink.OnRead(operation->tag, Status(), pages);
      } else {
        ++arena_.switches().lost_reads;
        sink.OnRead(operation->tag, Status(ErrorCode::kDataLoss, "slot is not there", ErrorScope::kPage), {});
      }
    }
    return delivered;
  }
  [[nodiscard]] PollNeed Need() const override { return queue_.Need(); }
  [[nodiscard]] std::size_t MaxBatch() const override { return 64; }

 private:
  MemoryArena& arena_;
  MemoryQueue queue_;
};

class MemoryWriter final : public PageWriter {
 public:
  explicit MemoryWriter(MemoryArena& arena) : arena_(arena), queue_(arena) {}
  void WritesFrom(std::span<const std::byte> memory) override { memory_ = memory; }
  Status Write(OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages) override {
    const bool inside = memory_.data() <= pages.data() && pages.data() + pages.size() <= memory_.data() + memory_.size();
    if (!memory_.empty() && !inside) ++arena_.switches().violations;
    return queue_.Start(MemoryQueue::Kind::kWrite, tag, slots, pages);
  }
  Status Release(OpTag tag, std::span<const Slot> slots) override {
    return queue_.Start(MemoryQueue::Kind::kRelease, tag, slots, {});
  }
  std::size_t Poll(WriteSink& sink) override {
    std::size_t delivered = 0;
    while (auto operation = queue_.Next()) {
      ++delivered;
      if (operation->kind == MemoryQueue::Kind::kRelease) {
        for (const Slot slot : operation->slots) arena_.Present(slot).store(0);
        arena_.switches().released += operation->slots.size();
        sink.OnReleased(operation->tag, Status());
      } else {
        sink.OnWritten(operation->tag, WritePages(*operation));
      }
    }
    return delivered;
  }
  [[nodiscard]] PollNeed Need() const override { return queue_.Need(); }
  [[nodiscard]] std::size_t MaxBatch() const override { return 64; }

 private:
  Status WritePages(const MemoryQueue::Operation& operation) {
    if (arena_.switches().refuse_writes.load()) return Status(ErrorCode::kPermissionDenied, "a later epoch owns the lease");
    const std::size_t page_size = arena_.page_size().value();
    for (std::size_t i = 0; i < operation.slots.size(); ++i) {
      if (arena_.Present(operation.slots[i]).load() != 0) {
        ++arena_.switches().violations;
        return Status(ErrorCode::kAlreadyExists, "slot is written");
      }
      std::memcpy(arena_.Page(operation.slots[i]), operation.pages.data() + i * page_size, page_size);
      arena_.Present(operation.slots[i]).store(1);
    }
    arena_.switches().written += operation.slots.size();
    return Status();
  }
  MemoryArena& arena_;
  MemoryQueue queue_;
  std::span<const std::byte> memory_;  ///< that all pages lie in; empty: it was not told
};

class MemoryStore final : public PageStore {
 public:
  explicit MemoryStore(MemoryArena& arena, std::uint32_t read_only = 0) : arena_(arena), read_only_(read_only) {}
  Result<std::unique_ptr<PageReader>> OpenReader(Role) override {
    return std::unique_ptr<PageReader>(std::make_unique<MemoryReader>(arena_));
  }
  Result<std::unique_ptr<PageWriter>> OpenWriter() override {
    return std::unique_ptr<PageWriter>(std::make_unique<MemoryWriter>(arena_));
  }
  [[nodiscard]] Bytes PageSize() const override { return arena_.page_size(); }
  [[nodiscard]] std::uint32_t SlotCount() const override { return arena_.slots(); }
  [[nodiscard]] std::uint32_t ReadOnlySlots() const override { return read_only_; }
  [[nodiscard]] StoreHealth Health() const override {
    return arena_.switches().disconnected.load() ? StoreHealth::kDisconnected : StoreHealth::kGood;
  }
  [[nodiscard]] std::string Describe() const override { return "memory store of a test"; }

 private:
  MemoryArena& arena_;
  const std::uint32_t read_only_;
};

}  // namespace heca::test
