// SPDX-License-Identifier: LGPL-2.1-or-later
// The destination's half of a live migration, as a region: its store is the image of the stopped VM that the source lends,
// and everything is away. So it lives as any other region does: faults are served from its store, a link that breaks is
// dialled again, a restarted hecad takes it back; and it ends by a detach, which brings every page home, lets go of the
// memory and gives the lease back. That last step is the commit: the source keeps the image until then.
//
//   journal says   crash here, and the next hecad                  the source
//   attaching      ends the QEMU that waits: libvirt may let it    hears "not known" from Open and goes on
//                  run before Open, and it would find zeros
//   detaching      takes it back and goes on bringing pages home   lends on
//   ending         gives the lease back                            is free
//
// A VM that is governed comes with the lease of what is not in the image, and stays governed (docs/migration.md has the
// whole table). It does not end: once no page needs the image, that is given back, and the lease is all there is.
//
//   journal says   crash here, and the next hecad                  the lease
//   attaching      as above                                        is the source's
//   arriving       takes it back and serves it; only reads the     this node's if the VM comes to run here, which the next
//                  lease until it finds that the VM runs           hecad asks QEMU; else the source takes it back
//   active         takes it back, draws the image's pages home     this node's
//   active, and    takes it back as any region
//   no image
#include <algorithm>
#include <thread>
#include <utility>

#include "base/fail_points.h"
#include "base/log.h"
#include "base/size.h"
#include "guest/vcpus.h"
#include "node/session.h"
#include "os/pidfd.h"
#include "store/image_sponsor.h"

namespace heca::node {
namespace {

constexpr std::chrono::seconds kClosePatience{2};
constexpr std::chrono::seconds kCapturePatience{5};
constexpr std::chrono::seconds kAnswerPatience{1};
constexpr std::chrono::seconds kQuitPatience{3};
constexpr std::chrono::seconds kVcpuPatience{1};  // for numbers only

}  // namespace

Result<std::unique_ptr<Session>> Session::Arrive(const SessionContext& context, const AttachTarget& target,
                                                 const control::PrepareRequest& request) {
  control::AttachSpec spec;
  spec.region = request.region;
  spec.pid = request.pid;
  spec.domain = request.domain;
  spec.qmp_socket = request.qmp_socket;
  if (request.governed) {
    spec.local_limit = request.governed->limit;
    spec.page_loss = request.governed->page_loss;
    spec.transport = request.governed->transport;
  }
  HECA_RETURN_IF_ERROR(context.sponsors.Check(spec.transport));
  HECA_ASSIGN_OR_RETURN(RegionRecord record, NewRecord(target, spec));
  std::unique_ptr<Session> session(new Session(context, std::move(record)));
  Status status = session->FindMemory(spec);
  if (status.ok()) status = session->CheckItWaits();
  if (status.ok()) status = session->CompareBlocks(request);
  if (status.ok()) {
    status = request.governed ? session->ConnectGoverned(request)
                              : session->Connect(request.source_node, request.source_address, request.image);
  }
  if (status.ok()) status = session->MakeGuard(session->monitor_);
  if (status.ok()) status = session->CaptureForArrival();
  if (!status.ok()) {
    session->RollBack();
    return status;
  }
  return session;
}

/// Before anything of it is touched: what lies in the RAM of a QEMU that waits is worth nothing, and is dropped.
Status Session::CheckItWaits() const {
  if (!monitor_) {
    return {ErrorCode::kFailedPrecondition, "the QEMU that waits has no QMP socket for hecad: name one with --dest-qmp"};
  }
  HECA_ASSIGN_OR_RETURN(const guest::Json answer,
                        monitor_->Execute("query-status", guest::Json::object(), Deadline::After(kCapturePatience)));
  const std::string state = answer.value("status", "");
  if (state == "inmigrate") return Status();
  return {ErrorCode::kFailedPrecondition, "process " + std::to_string(record_.pid) + " does not wait for a VM, it is '" +
                                              state + "': start it with -incoming defer"};
}

Status Session::CompareBlocks(const control::PrepareRequest& request) const {
  const auto say = [](const auto& blocks, auto size) {
    std::string text;
    for (const auto& block : blocks) text += (text.empty() ? "" : ", ") + block.name + " of " + FormatSize(size(block));
    return text;
  };
  const bool same = std::equal(request.blocks.begin(), request.blocks.end(), record_.blocks.begin(), record_.blocks.end(),
                               [](const auto& a, const auto& b) { return a.size.value() == b.bytes; });
  if (same && request.image.page_size == page_size_) return Status();
  return Status(ErrorCode::kFailedPrecondition,
                "the destination's QEMU has other RAM (" + say(record_.blocks, [](const auto& b) { return Bytes(b.bytes); }) +
                    ") than the source's (" + say(request.blocks, [](const auto& b) { return b.size; }) +
                    "): start it with the same memory");
}

Status Session::CaptureForArrival() {
  HECA_ASSIGN_OR_RETURN(region::PageTable table,
                        region::PageTable::CreateAway(context_.journal.TablePath(name_), *map_, TableStoreName()));
  HECA_ASSIGN_OR_RETURN(guest::CapturedUffd captured,
                        guest::CaptureUffd(record_.pid, monitor_.get(), {}, Deadline::After(kCapturePatience)));
  record_.target_fd = captured.target_fd;
  record_.capture_stop_ns = captured.stop.count();
  HECA_RETURN_IF_ERROR(Journal());  // still attaching
  if (FailPointHit(FailPoint::kFailAfterCapture)) return {ErrorCode::kUnavailable, "a test wants it so"};
  return StartEngine(std::move(captured), std::move(table), fault::StartMode::kArrival);
}

std::vector<std::int32_t> Session::VcpuThreads() {
  const auto monitor = Monitor();
  if (!monitor) return {};
  auto threads = guest::QueryVcpuThreads(*monitor, Deadline::After(kVcpuPatience));
  if (!threads.ok()) Log().info("{}: for how long its vCPUs wait is not known: {}", name_, threads.status().ToString());
  return threads.ok() ? std::move(threads).value() : std::vector<std::int32_t>();
}

Status Session::OpenArrival() {
  const std::lock_guard operation(operation_mutex_);
  HECA_ASSIGN_OR_RETURN(const auto governance, Governed());
  if (came_governed()) return OpenGoverned(*governance);
  {
    const std::lock_guard lock(record_mutex_);
    record_.phase = RecordPhase::kDetaching;
  }
  HECA_RETURN_IF_ERROR(Journal());
  state_ = control::RegionState::kDetaching;
  governance->engine->Open();
  return Status();
}

Status Session::Tell(control::PageNews news, const std::vector<control::PageRun>& runs) {
  HECA_ASSIGN_OR_RETURN(const auto governance, Governed());
  if (came_governed() && news == control::PageNews::kChanged) {
    return Status(ErrorCode::kFailedPrecondition, "where pages of governed memory lie now, Place says", ErrorScope::kRegion);
  }
  const std::uint64_t pages = Size().value() / page_size_.value();
  std::vector<region::PageRun> checked;
  for (const auto& run : runs) {
    if (run.first >= pages || run.pages > pages - run.first) {
      return Status(ErrorCode::kInvalidArgument, "region '" + name_ + "' has " + std::to_string(pages) + " pages");
    }
    checked.push_back({PageIndex(run.first), run.pages});
  }
  governance->engine->Fill();
  const auto kind = news == control::PageNews::kChanged ? fault::News::kChanged : fault::News::kEmpty;
  return governance->engine->Tell(kind, std::move(checked), Deadline::After(kNewsPatience));
}

void Session::SetPace(Bytes a_second) {
  if (const auto governance = Governing()) governance->engine->SetPace(a_second);
}

void Session::BringArrivalHome() {
  const std::lock_guard operation(operation_mutex_);
  const auto governance = Governing();
  if (!governance || detach_step_ != DetachStep::kNone) return;
  governance->engine->BringHome();
  detach_step_ = DetachStep::kHome;
}

void Session::CallOffArrival() {
  const std::lock_guard operation(operation_mutex_);
  if (ended() || (came_governed() && phase() == RecordPhase::kActive)) return;
  const bool opened = state_ == control::RegionState::kDetaching || phase() == RecordPhase::kArriving;
  if ((opened || StreamHasBegun()) && !EndWaitingQemu()) {
    // It might still run, with memory that never came: its threads wait, as for a sponsor that is away.
    Tell(control::Severity::kError, control::EventKind::kAlarm,
         "the migration was called off and the QEMU that waited does not end: end it by hand, it must not run");
    return;
  }
  if (const auto governance = Governing()) governance->engine->Stop();
  LeaveLease();
  if (const Status noted = NoteEnding(); !noted.ok()) Log().warn("{}: {}", name_, noted.ToString());
  if (auto closed = guest::CloseUffdInTarget({record_.pid, record_.start_time}, record_.target_fd,
                                             Deadline::After(kClosePatience));
      !closed.ok()) {
    Log().info("{}: the userfaultfd of the QEMU that waited: {}", name_, closed.status().ToString());
  }
  context_.budget.Drop(name_);
  state_ = control::RegionState::kEnding;
  ended_.store(true, std::memory_order_release);
}

bool Session::MemoryIsElsewhere() const {
  const bool from_image = store::IsImage(record_.lease.lease.key.id) || record_.image.has_value();
  return from_image && record_.phase == RecordPhase::kAttaching;
}

bool Session::StreamHasBegun() {
  const auto monitor = Monitor();
  if (!monitor) return true;
  const auto answer = monitor->Execute("query-migrate", guest::Json::object(), Deadline::After(kAnswerPatience));
  if (!answer.ok()) return true;  // its main loop may be waiting for a page of the VM that it loads
  const std::string status = answer->value("status", "none");
  return status != "none" && status != "setup" && status != "failed" && status != "cancelled";
}

bool Session::EndWaitingQemu() {
  const guest::ProcessId process{record_.pid, record_.start_time};
  const auto pidfd = os::PidfdOpen(process.pid);
  const auto now = guest::IdentifyProcess(process.pid);  // after it was opened: it is the one that is held
  if (!pidfd.ok() || !now.ok() || *now != process) return true;
  const auto ends = [&pidfd](Deadline deadline) {
    while (os::PidfdAlive(*pidfd) && !deadline.Passed()) std::this_thread::sleep_for(Millis(10));
    return !os::PidfdAlive(*pidfd);
  };
  const Deadline asked = Deadline::After(kAnswerPatience);
  if (const auto monitor = Monitor()) (void)monitor->Execute("quit", guest::Json::object(), asked);
  if (ends(asked)) return true;
  if (const Status killed = os::PidfdKill(*pidfd); !killed.ok()) Log().warn("{}: {}", name_, killed.ToString());
  return ends(Deadline::After(kQuitPatience));
}

std::shared_ptr<guest::Qmp> Session::Monitor() {
  const std::lock_guard lock(vm_mutex_);
  return monitor_;
}

std::optional<fault::EngineStats> Session::EngineNumbers() const {
  const auto governance = Governing();
  if (!governance) return std::nullopt;
  return governance->engine->Stats();
}

}  // namespace heca::node
