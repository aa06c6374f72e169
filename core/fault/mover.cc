// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/mover.h"

#include <poll.h>
#include <pthread.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace heca::fault {
namespace {

bool AllZero(std::span<const std::byte> page) {
  // A page is zero if its first bytes are and each byte equals the one 16 before it.
  constexpr std::size_t kHead = 16;
  for (std::size_t i = 0; i < kHead; ++i) {
    if (page[i] != std::byte{0}) return false;
  }
  return std::memcmp(page.data(), page.data() + kHead, page.size() - kHead) == 0;
}

short PollEvents(std::uint32_t epoll_events) { return static_cast<short>(epoll_events & (POLLIN | POLLOUT)); }

}  // namespace

Mover::Mover(const region::RegionMap& map, JobExchange& exchange, std::span<const std::byte> buffers, WakeFd& loop_wake,
             std::unique_ptr<PageWriter> writer)
    : map_(map), exchange_(exchange), loop_wake_(loop_wake), writer_(std::move(writer)), max_batch_(writer_->MaxBatch()) {
  writer_->WritesFrom(buffers);
}

Mover::~Mover() { Stop(); }

void Mover::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Mover::Stop() {
  stop_.store(true, std::memory_order_release);
  wake_.Signal();
  if (thread_.joinable()) thread_.join();
}

void Mover::Run() {
  ::pthread_setname_np(::pthread_self(), "heca-writeback");
  while (!stop_.load(std::memory_order_acquire)) {
    TakeJobs();
    StartReleases();
    Advance();
    (void)writer_->Poll(*this);
    StartReleases();
    Advance();
    const PollNeed need = writer_->Need();
    std::array<pollfd, 2> fds{{{wake_.fd(), POLLIN, 0}, {need.fd, PollEvents(need.events), 0}}};
    if (::poll(fds.data(), fds.size(), need.tick_ms < 0 ? 1000 : need.tick_ms) > 0 && fds[0].revents != 0) {
      wake_.Clear();
    }
  }
}

void Mover::TakeJobs() {
  while (const std::optional<JobIndex> index = exchange_.to_mover.Pop()) {
    if ((*index & kReleaseBit) != 0) {
      waiting_releases_[waiting_release_count_++] = *index & ~kReleaseBit;
    } else {
      active_[active_count_++] = {*index, false, 0, 0};
    }
  }
}

void Mover::StartReleases() {
  while (waiting_release_count_ > 0) {
    const JobIndex index = waiting_releases_[0];
    ReleaseJob& job = exchange_.releases[index];
    const std::span<const Slot> slots{job.slots.data(), job.count};
    const Status started = writer_->Release(OpTag(std::uint64_t{kReleaseBit} | index), slots);
    if (started.code() == ErrorCode::kBusy) return;
    std::copy(waiting_releases_.begin() + 1,
              waiting_releases_.begin() + static_cast<std::ptrdiff_t>(waiting_release_count_),
              waiting_releases_.begin());
    --waiting_release_count_;
    if (!started.ok()) OnReleased(OpTag(std::uint64_t{kReleaseBit} | index), started);
  }
}

void Mover::ReadPages(WriteBackJob& job) {
  const std::size_t page_size = map_.page_size().value();
  for (std::size_t i = 0; i < job.count && job.status.ok();) {
    std::size_t end = i + 1;
    while (end < job.count && job.items[end].page == job.items[end - 1].page + 1) ++end;
    const region::PageRun run = map_.Clip({job.items[i].page, end - i});
    const std::span<std::byte> bytes{job.buffer + i * page_size, run.pages * page_size};
    job.status = map_.BlockOf(run.first).file.ReadAt(map_.OffsetOf(run.first), bytes);
    i += run.pages;
  }
  for (std::size_t i = 0; i < job.count && job.status.ok(); ++i) {
    job.items[i].all_zero = AllZero({job.buffer + i * page_size, page_size});
  }
}

bool Mover::SendMore(Active& active) {
  WriteBackJob& job = exchange_.jobs[active.index];
  const std::size_t page_size = map_.page_size().value();
  std::array<Slot, kMaxBatchPages> slots;
  while (active.next < job.count && job.status.ok()) {
    if (job.items[active.next].all_zero) {
      ++active.next;
      continue;
    }
    std::size_t count = 0;
    while (active.next + count < job.count && count < max_batch_ && !job.items[active.next + count].all_zero) {
      slots[count] = job.items[active.next + count].slot;
      ++count;
    }
    const Status started = writer_->Write(OpTag(active.index), {slots.data(), count},
                                          {job.buffer + active.next * page_size, count * page_size});
    if (started.code() == ErrorCode::kBusy) return false;
    if (!started.ok()) {
      job.status = started;
      break;
    }
    active.next += count;
    ++active.in_flight;
  }
  return true;
}

void Mover::Advance() {
  std::size_t kept = 0;
  bool room = true;
  for (std::size_t i = 0; i < active_count_; ++i) {
    Active active = active_[i];
    WriteBackJob& job = exchange_.jobs[active.index];
    if (!active.read) {
      ReadPages(job);
      active.read = true;
    }
    if (room) room = SendMore(active);
    if (active.in_flight == 0 && (active.next == job.count || !job.status.ok())) {
      Report(active.index);
    } else {
      active_[kept++] = active;
    }
  }
  active_count_ = kept;
}

void Mover::OnWritten(OpTag tag, const Status& status) {
  const auto index = static_cast<JobIndex>(tag.value());
  const auto end = active_.begin() + static_cast<std::ptrdiff_t>(active_count_);
  const auto active = std::find_if(active_.begin(), end, [index](const Active& a) { return a.index == index; });
  if (active == end) return;
  --active->in_flight;
  WriteBackJob& job = exchange_.jobs[index];
  if (!status.ok() && job.status.ok()) job.status = status;
}

void Mover::OnReleased(OpTag tag, const Status& status) {
  const auto index = static_cast<JobIndex>(tag.value()) & ~kReleaseBit;
  exchange_.releases[index].status = status;
  Report(kReleaseBit | index);
}

void Mover::Report(JobIndex index) {
  (void)exchange_.to_loop.Push(index);
  loop_wake_.Signal();
}

}  // namespace heca::fault
