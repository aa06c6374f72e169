// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/joined_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace heca::store {
namespace {

int Sooner(int one, int other) {
  if (one < 0 || other < 0) return std::max(one, other);
  return std::min(one, other);
}

}  // namespace

class JoinedReader::Sink final : public ReadSink {
 public:
  Sink(JoinedReader& reader, Side side) : reader_(reader), side_(side) {}
  void OnRead(OpTag tag, const Status& status, std::span<const std::byte> pages) override {
    reader_.OnPart(tag.value(), side_, status, pages);
  }

 private:
  JoinedReader& reader_;
  const Side side_;
};

Result<std::unique_ptr<PageReader>> JoinedReader::Create(std::unique_ptr<PageReader> image, std::uint32_t image_slots,
                                                         std::unique_ptr<PageReader> lease, Bytes page_size,
                                                         const std::atomic<bool>& image_needed) {
  HECA_ASSIGN_OR_RETURN(os::EpollSet set, os::EpollSet::Create());
  return std::unique_ptr<PageReader>(new JoinedReader({std::move(image), std::move(lease)}, image_slots, page_size,
                                                      image_needed, std::move(set)));
}

JoinedReader::JoinedReader(std::array<std::unique_ptr<PageReader>, kSides> readers, std::uint32_t image_slots,
                           Bytes page_size, const std::atomic<bool>& image_needed, os::EpollSet set)
    : readers_(std::move(readers)),
      image_slots_(image_slots),
      page_size_(page_size),
      image_needed_(image_needed),
      set_(std::move(set)) {
  Follow();
}

bool JoinedReader::Asked(Side side) const {
  return side == kLease || (readers_[kImage] != nullptr && image_needed_.load(std::memory_order_acquire));
}

std::size_t JoinedReader::MaxBatch() const {
  const std::size_t lease = readers_[kLease]->MaxBatch();
  return readers_[kImage] != nullptr ? std::min(lease, readers_[kImage]->MaxBatch()) : lease;
}

std::size_t JoinedReader::Take() {
  if (free_.empty()) {
    free_.push_back(operations_.size());
    operations_.push_back(std::make_unique<Operation>());
  }
  const std::size_t index = free_.back();
  free_.pop_back();
  return index;
}

Status JoinedReader::Start(OpTag tag, std::span<const Slot> slots) {
  if (slots.empty() || slots.size() > MaxBatch()) {
    return {ErrorCode::kInvalidArgument, "a batch of no pages, or of too many", ErrorScope::kPage};
  }
  const std::size_t index = Take();
  Operation& operation = *operations_[index];
  operation.tag = tag;
  operation.pages = slots.size();
  operation.status = Status();
  for (Part& part : operation.parts) {
    part.slots.clear();
    part.at.clear();
    part.waits = part.runs = false;
  }
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const bool image = slots[i] != kNoSlot && slots[i].value() <= image_slots_;
    Part& part = operation.parts[image ? kImage : kLease];
    part.slots.push_back(image || slots[i] == kNoSlot ? slots[i] : Slot(slots[i].value() - image_slots_));
    part.at.push_back(i);
  }
  const Side first = operation.parts[kImage].slots.empty() ? kLease : kImage;
  Status started = StartPart(index, first);
  if (!started.ok()) {
    free_.push_back(index);
    return started;
  }
  if (first == kImage && !operation.parts[kLease].slots.empty()) {
    // From here on the operation is under way: what is wrong with its other part is part of its answer.
    const Status second = StartPart(index, kLease);
    if (second.code() == ErrorCode::kBusy) {
      operation.parts[kLease].waits = true;
      waiting_.push_back(index);
    } else if (!second.ok()) {
      operation.status = second;
    }
  }
  Follow();
  return started;
}

Status JoinedReader::StartPart(std::size_t index, Side side) {
  if (!Asked(side)) {
    return {ErrorCode::kDataLoss, "the image of the memory was given back: no page lies there", ErrorScope::kPage};
  }
  Part& part = operations_[index]->parts[side];
  Status started = readers_[side]->Start(OpTag(index), part.slots);
  part.runs = started.ok();
  return started;
}

void JoinedReader::StartWaiting() {
  while (!waiting_.empty()) {
    const std::size_t index = waiting_.front();
    Operation& operation = *operations_[index];
    const Status started = StartPart(index, kLease);
    if (started.code() == ErrorCode::kBusy) return;
    waiting_.erase(waiting_.begin());
    operation.parts[kLease].waits = false;
    if (started.ok()) continue;
    operation.status = started;
    Finish(index, {});
  }
}

std::size_t JoinedReader::Poll(ReadSink& sink) {
  sink_ = &sink;
  delivered_ = 0;
  for (const Side side : {kImage, kLease}) {
    if (readers_[side] == nullptr) continue;
    Sink inner(*this, side);
    (void)readers_[side]->Poll(inner);
  }
  StartWaiting();
  Follow();
  return delivered_;
}

void JoinedReader::OnPart(std::size_t index, Side side, const Status& status, std::span<const std::byte> pages) {
  Operation& operation = *operations_[index];
  Part& part = operation.parts[side];
  part.runs = false;
  if (!status.ok() && operation.status.ok()) operation.status = status;
  if (part.slots.size() == operation.pages) {
    Finish(index, pages);
    return;
  }
  if (status.ok()) {
    const std::size_t page_size = page_size_.value();
    operation.bytes.resize(operation.pages * page_size);
    for (std::size_t i = 0; i < part.at.size(); ++i) {
      std::memcpy(operation.bytes.data() + part.at[i] * page_size, pages.data() + i * page_size, page_size);
    }
  }
  Finish(index, operation.bytes);
}

void JoinedReader::Finish(std::size_t index, std::span<const std::byte> pages) {
  Operation& operation = *operations_[index];
  for (const Part& part : operation.parts) {
    if (part.runs || part.waits) return;
  }
  const Status status = std::exchange(operation.status, Status());
  ++delivered_;
  // The receiver may start another operation: this one is free only after it has been read.
  sink_->OnRead(operation.tag, status, status.ok() ? pages : std::span<const std::byte>());
  free_.push_back(index);
}

void JoinedReader::Follow() {
  int tick = waiting_.empty() ? -1 : 1;
  for (const Side side : {kImage, kLease}) {
    const PollNeed need = Asked(side) ? readers_[side]->Need() : PollNeed{};
    PollNeed& known = known_[side];
    if (known.fd != need.fd || known.file != need.file) {
      // A closed descriptor has left the set by itself, and its number may be the other side's by now.
      if (known.fd >= 0 && known.fd != known_[1 - side].fd) set_.Remove(known.fd);
      if (need.fd >= 0) (void)set_.Add(need.fd, need.events, nullptr);
    } else if (known.events != need.events && need.fd >= 0) {
      set_.Change(need.fd, need.events, nullptr);
    }
    known = need;
    tick = Sooner(tick, need.tick_ms);
  }
  need_ = {set_.fd(), EPOLLIN, tick, 1};
}

}  // namespace heca::store
