// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/io_guard.h"

#include <algorithm>

#include <fmt/format.h>

#include "guest/direct_io.h"
#include "guest/virtio_idle.h"

namespace heca::guest {
namespace {

constexpr Nanos kReadsPoll = std::chrono::milliseconds(2);
constexpr Nanos kAnswer = std::chrono::seconds(1);
/// Until a rule that cannot speak for this VM is tried again: a disk may have been unplugged.
constexpr Nanos kRetryUnsupported = std::chrono::seconds(2);

std::uint64_t Now() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<Nanos>(Clock::now().time_since_epoch()).count());
}
long long Millisec(Nanos span) { return std::chrono::duration_cast<Millis>(span).count(); }

}  // namespace

std::string_view ToString(IoRule rule) {
  switch (rule) {
    case IoRule::kInvalid: return "invalid";
    case IoRule::kNone: return "none needed";
    case IoRule::kQueuesIdle: return "virtio queues idle";
    case IoRule::kReadsEnded: return "read calls ended";
    case IoRule::kGrace: return "grace time";
  }
  return "unknown";
}

Result<std::unique_ptr<GuestIoGuard>> GuestIoGuard::Create(pid_t pid, std::shared_ptr<Qmp> monitor,
                                                           const IoGuardOptions& options) {
  std::unique_ptr<GuestIoGuard> guard(new GuestIoGuard(pid, std::move(monitor), options));
  HECA_RETURN_IF_ERROR(LookForDirectIo(pid).status());
  guard->newest_mark_ = 1;  // nothing is older: the first look proves it
  if (guard->Look()) guard->Prove(Now(), IoRule::kNone);
  if (guard->monitor_) guard->MeetMonitor(*guard->monitor_);
  guard->proc_thread_ = std::thread([raw = guard.get()] { raw->WatchProc(); });
  guard->qemu_thread_ = std::thread([raw = guard.get()] { raw->WatchQemu(); });
  return guard;
}

GuestIoGuard::GuestIoGuard(pid_t pid, std::shared_ptr<Qmp> monitor, const IoGuardOptions& options)
    : pid_(pid), options_(options), monitor_(std::move(monitor)) {}

GuestIoGuard::~GuestIoGuard() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  if (proc_thread_.joinable()) proc_thread_.join();
  if (qemu_thread_.joinable()) qemu_thread_.join();
}

IoMark GuestIoGuard::Mark() {
  const Moment now = Now();
  Moment newest = newest_mark_.load();
  while (newest < now && !newest_mark_.compare_exchange_weak(newest, now)) {
  }
  if (sleepers_.load() > 0) {
    { const std::lock_guard lock(mutex_); }  // a sleeper is either before its check or in its wait, not between
    wake_.notify_all();
  }
  return IoMark(now);
}

bool GuestIoGuard::Drained(IoMark mark) {
  if (mark.value() <= proved_until_.load(std::memory_order_acquire)) return true;
  const Moment now = Now();
  const Moment grace = static_cast<Moment>(options_.grace.count());
  if (now < grace || now - grace < mark.value()) return false;
  Prove(mark.value(), IoRule::kGrace);
  return true;
}

int GuestIoGuard::RecheckMs() const {
  const std::lock_guard lock(mutex_);
  return found_.empty() ? 1 : 5;
}

std::string GuestIoGuard::Describe() const {
  const std::lock_guard lock(mutex_);
  if (found_.empty()) return "none needed: no direct disk I/O";
  const bool queues = monitor_ && met_ && virtio_problem_.empty();
  std::string rule;
  if (queues) rule = "until the virtio queues were idle";
  if (synchronous_only_) rule += fmt::format("{}until the threads' reads have ended", rule.empty() ? "" : " or ");
  const std::string grace = fmt::format("{} ms", Millisec(options_.grace));
  if (rule.empty()) {
    return fmt::format("waits {}: {}{}{}", grace, found_, virtio_problem_.empty() ? "" : "; ", virtio_problem_);
  }
  return fmt::format("waits {}, at most {}: {}", rule, grace, found_);
}

bool GuestIoGuard::Pending() const {
  const Moment newest = newest_mark_.load();
  return newest > proved_until_.load() && Now() < newest + static_cast<Moment>(options_.grace.count());
}

GuestIoGuard::Moment GuestIoGuard::NextRound() {
  std::unique_lock lock(mutex_);
  sleepers_.fetch_add(1);  // before Pending() is asked: see Mark
  wake_.wait(lock, [this] { return ending_ || Pending(); });
  sleepers_.fetch_sub(1);
  return ending_ ? 0 : Now();
}

GuestIoGuard::Moment GuestIoGuard::NextRoundWith(const Qmp& monitor) {
  std::unique_lock lock(mutex_);
  sleepers_.fetch_add(1);
  wake_.wait(lock, [&] { return ending_ || monitor_.get() != &monitor || Pending(); });
  sleepers_.fetch_sub(1);
  return ending_ || monitor_.get() != &monitor ? 0 : Now();
}

bool GuestIoGuard::Pause(Nanos span) {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, span, [this] { return ending_; });
}

void GuestIoGuard::Prove(Moment moment, IoRule rule) {
  Moment known = proved_until_.load();
  while (known < moment && !proved_until_.compare_exchange_weak(known, moment, std::memory_order_acq_rel)) {
  }
  if (known < moment) last_rule_.store(rule, std::memory_order_relaxed);
}

/// True: no direct I/O.
bool GuestIoGuard::Look() {
  const Result<DirectIo> io = LookForDirectIo(pid_);
  const std::lock_guard lock(mutex_);
  found_ = io.ok() ? io->what : std::string(io.status().message());
  synchronous_only_ = io.ok() && io->synchronous && !io->asynchronous;
  return io.ok() && io->None();
}

void GuestIoGuard::WatchProc() {
  for (Moment moment = NextRound(); moment != 0; moment = NextRound()) {
    if (Look()) {
      Prove(moment, IoRule::kNone);
    } else {
      ProveReads(moment);
    }
    if (!Pause(options_.look_interval)) return;
  }
}

void GuestIoGuard::ProveReads(Moment moment) {
  std::vector<pid_t> vcpus;
  {
    const std::lock_guard lock(mutex_);
    if (!synchronous_only_) return;
    vcpus = vcpus_;
  }
  ReadCallsProof proof(pid_);
  if (!proof.Begin(vcpus).ok()) return;
  const Moment give_up = moment + static_cast<Moment>(options_.grace.count());
  while (!proof.Done()) {
    if (Now() > give_up || !Pause(kReadsPoll)) return;
  }
  Prove(moment, IoRule::kReadsEnded);
}

void GuestIoGuard::UseMonitor(std::shared_ptr<Qmp> monitor) {
  {
    const std::lock_guard lock(mutex_);
    monitor_.swap(monitor);  // the former one is destroyed below, without the lock: that waits for its threads
    met_ = false;
    virtio_problem_ = monitor_ ? "QEMU has not been asked yet" : "";
  }
  wake_.notify_all();
}

void GuestIoGuard::WatchQemu() {
  for (;;) {
    std::shared_ptr<Qmp> monitor;
    bool met = false;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return ending_ || monitor_; });
      if (ending_) return;
      monitor = monitor_;
      met = met_;
    }
    if (!met) MeetMonitor(*monitor);
    AskQemu(monitor);
  }
}

/// What it can tell, so that Describe is right before the first mark.
void GuestIoGuard::MeetMonitor(Qmp& monitor) {
  RefreshVcpus(monitor);
  NoteAnswer(monitor, VirtioIdle(monitor).Look(Deadline::After(kAnswer)).status());
}

/// Nothing that a former monitor said is noted.
void GuestIoGuard::NoteAnswer(const Qmp& monitor, const Status& answer) {
  std::shared_ptr<Qmp> gone;
  const std::lock_guard lock(mutex_);
  if (monitor_.get() != &monitor) return;
  met_ = true;
  virtio_problem_ = std::string(answer.message());
  if (answer.code() == ErrorCode::kUnavailable) monitor_.swap(gone);  // its owner brings another one
}

/// Until the guard ends or has another monitor.
void GuestIoGuard::AskQemu(const std::shared_ptr<Qmp>& monitor) {
  VirtioIdle virtio(*monitor);
  Clock::time_point vcpus_known = Clock::now();
  for (Moment moment = NextRoundWith(*monitor); moment != 0; moment = NextRoundWith(*monitor)) {
    bool needed = false;
    {
      const std::lock_guard lock(mutex_);
      needed = !found_.empty();
    }
    if (!needed) {  // the look at /proc answers without a word to QEMU
      if (!Pause(options_.look_interval)) return;
      continue;
    }
    if (Clock::now() - vcpus_known > kRetryUnsupported) {
      RefreshVcpus(*monitor);
      vcpus_known = Clock::now();
    }
    virtio.Begin();
    Result<bool> idle = false;
    const Moment give_up = moment + static_cast<Moment>(options_.grace.count());
    do {
      idle = virtio.Look(Deadline::After(kAnswer));
      if (idle.ok() && *idle) Prove(moment, IoRule::kQueuesIdle);
      if (!Pause(options_.ask_interval)) return;
    } while (idle.ok() && !*idle && Now() < give_up);
    NoteAnswer(*monitor, idle.status());
    if (!idle.ok() && idle.status().code() != ErrorCode::kUnavailable && !Pause(kRetryUnsupported)) return;
  }
}

void GuestIoGuard::RefreshVcpus(Qmp& monitor) {
  const Result<Json> cpus = monitor.Execute("query-cpus-fast", {}, Deadline::After(kAnswer));
  if (!cpus.ok()) return;
  std::vector<pid_t> tids;
  for (const Json& cpu : ElementsOf(*cpus)) tids.push_back(static_cast<pid_t>(NumberOf(cpu, "thread-id")));
  const std::lock_guard lock(mutex_);
  vcpus_ = std::move(tids);
}

IoMark GraceIoGuard::Mark() { return IoMark(Now()); }

bool GraceIoGuard::Drained(IoMark mark) {
  const std::uint64_t now = Now();
  const std::uint64_t grace = static_cast<std::uint64_t>(grace_.count());
  return now >= grace && now - grace >= mark.value();
}

int GraceIoGuard::RecheckMs() const { return grace_ == Nanos(0) ? 0 : 5; }

std::string GraceIoGuard::Describe() const { return fmt::format("waits {} ms", Millisec(grace_)); }

}  // namespace heca::guest
