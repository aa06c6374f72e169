// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/write_log_sync.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/log.h"

namespace heca::guest {
namespace {

/// Pages that Collect arms with the lock held: faults wait so long, 0.3 ms.
constexpr std::uint64_t kPagesAtOnce = 4096;

Status ArmError(const os::UffdAnswer& answer) {
  return Status::FromErrno(answer.error, "write-protecting the VM's memory", ErrorScope::kRegion);
}

}  // namespace

SyncWriteLog::SyncWriteLog(std::unique_ptr<LoggedRam> ram, os::EpollSet wait)
    : ram_(std::move(ram)), run_(ram_->page_size() == kBasePage ? kRun : 1),
      written_((ram_->pages().value() + 63) / 64), wait_(std::move(wait)) {}

Result<std::unique_ptr<WriteLog>> SyncWriteLog::Start(std::unique_ptr<LoggedRam> ram) {
  HECA_ASSIGN_OR_RETURN(os::EpollSet wait, os::EpollSet::Create());
  std::unique_ptr<SyncWriteLog> log(new SyncWriteLog(std::move(ram), std::move(wait)));
  LoggedRam& logged = *log->ram_;
  HECA_RETURN_IF_ERROR(log->wait_.Add(logged.uffd().fd(), EPOLLIN, &logged));
  log->thread_ = std::thread([&log = *log] { log.Serve(); });  // before the first page is armed
  HECA_RETURN_IF_ERROR(logged.InSteps([&logged](const LoggedRam::Range&, os::TargetAddress start, Bytes length) {
    const os::UffdAnswer answer = logged.Protect(start, length, os::Arm::kYes);
    return answer.error == 0 ? Status() : ArmError(answer);
  }));
  return std::unique_ptr<WriteLog>(std::move(log));
}

SyncWriteLog::~SyncWriteLog() {
  ram_->Release();  // first, so that nobody waits for the thread that ends
  ending_ = true;
  wait_.Wake();
  if (thread_.joinable()) thread_.join();
}

void SyncWriteLog::Serve() {
  std::array<epoll_event, 4> ready{};
  std::array<os::UffdEvent, 64> events{};
  while (!ending_) {
    if (wait_.Wait(ready, /*only_look=*/false).empty()) continue;
    const Result<std::size_t> got = ram_->uffd().Read(events);
    if (!got.ok()) {
      // Nobody is to wait for a thread that ends; Collect finds out by CheckWatched.
      Log().error("process {}: {}", ram_->process().pid, got.status().ToString());
      ram_->Release();
      return;
    }
    const std::lock_guard lock(mutex_);
    for (const os::UffdEvent& event : std::span(events).first(*got)) Lift(event.address);
  }
}

void SyncWriteLog::Lift(os::TargetAddress address) {
  const LoggedRam::Range* const range = ram_->RangeAt(address);
  if (range == nullptr) return;
  const std::uint64_t in_range = ram_->PageAt(*range, address) - range->first;
  const std::uint64_t first = in_range / run_ * run_;
  const std::uint64_t end = std::min(first + run_, range->pages.value());
  for (std::uint64_t i = range->first.value() + first; i < range->first.value() + end; ++i) {
    written_[i / 64] |= std::uint64_t{1} << (i % 64);
  }
  const os::TargetAddress start = ram_->AddressOf(*range, range->first + first);
  const Bytes length((end - first) * ram_->page_size().value());
  // Mapped no more: whoever wrote there is to see for itself what became of it.
  if (ram_->Protect(start, length, os::Arm::kNo).error != 0) (void)ram_->uffd().Wake(start, length);
}

void SyncWriteLog::AppendWritten(const LoggedRam::Range& range, std::uint64_t first, std::uint64_t end,
                                 std::vector<PageSpan>& spans) const {
  for (std::uint64_t page = first; page < end; ++page) {
    if (page % 64 == 0 && written_[page / 64] == 0) {
      page += 63;
    } else if (Written(page)) {
      AppendSpan(spans, {PageIndex(page), PageCount(1)}, range.first);
    }
  }
}

Result<std::vector<PageSpan>> SyncWriteLog::Collect() {
  std::vector<PageSpan> spans;
  std::vector<PageSpan> part;
  for (const LoggedRam::Range& range : ram_->ranges()) {
    const std::uint64_t range_end = range.first.value() + range.pages.value();
    for (std::uint64_t first = range.first.value(); first < range_end; first += kPagesAtOnce) {
      part.clear();
      const std::lock_guard lock(mutex_);
      AppendWritten(range, first, std::min(first + kPagesAtOnce, range_end), part);
      for (const PageSpan& span : part) {
        const Bytes length(span.pages.value() * ram_->page_size().value());
        const os::UffdAnswer answer = ram_->Protect(ram_->AddressOf(range, span.first), length, os::Arm::kYes);
        if (answer.error != 0) return ram_->WhyRefused(ArmError(answer));
        for (std::uint64_t page = span.first.value(); page < span.first.value() + span.pages.value(); ++page) {
          written_[page / 64] &= ~(std::uint64_t{1} << (page % 64));
        }
        AppendSpan(spans, span, range.first);
      }
    }
  }
  HECA_RETURN_IF_ERROR(CheckWatched());
  return spans;
}

Result<std::vector<PageSpan>> SyncWriteLog::Final() {
  std::vector<PageSpan> spans;
  {
    const std::lock_guard lock(mutex_);
    for (const LoggedRam::Range& range : ram_->ranges()) {
      AppendWritten(range, range.first.value(), range.first.value() + range.pages.value(), spans);
    }
  }
  HECA_RETURN_IF_ERROR(CheckWatched());
  return spans;
}

Status SyncWriteLog::CheckWatched() {
  HECA_ASSIGN_OR_RETURN(const std::vector<os::TargetAddress> mappings, ram_->Mappings());
  // A mapping that was made anew is one of its own and not registered: it shows by an ioctl on one page that changes
  // nothing.
  for (const os::TargetAddress address : mappings) {
    const std::lock_guard lock(mutex_);
    const bool written = Written(ram_->PageAt(*ram_->RangeAt(address), address).value());
    const os::UffdAnswer answer = ram_->Protect(address, ram_->page_size(), written ? os::Arm::kNo : os::Arm::kYes);
    if (answer.error != 0) return ram_->WhyRefused(ArmError(answer));
  }
  return {};
}

}  // namespace heca::guest
