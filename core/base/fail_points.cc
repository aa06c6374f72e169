// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/fail_points.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <string>

namespace heca {
namespace {

enum class Action : std::uint8_t { kOff = 0, kOn = 1, kCrash = 2 };

struct Armed {
  std::atomic<Action> action{Action::kOff};
  std::atomic<std::uint32_t> passes_left{0};
};

std::array<Armed, static_cast<std::size_t>(FailPoint::kCount)> points;

FailPoint PointNamed(std::string_view name) {
  for (std::size_t i = 1; i < points.size(); ++i) {
    if (ToString(static_cast<FailPoint>(i)) == name) return static_cast<FailPoint>(i);
  }
  return FailPoint::kNone;
}

Status ArmOne(std::string_view item) {
  const auto equals = item.find('=');
  const auto point = PointNamed(item.substr(0, equals));
  if (equals == std::string_view::npos || point == FailPoint::kNone) {
    return Status(ErrorCode::kInvalidArgument, "unknown fail point in '" + std::string(item) + "'");
  }
  auto action_text = item.substr(equals + 1);
  std::uint32_t nth = 1;
  if (const auto at = action_text.find('@'); at != std::string_view::npos) {
    const auto number = action_text.substr(at + 1);
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), nth);
    if (error != std::errc() || end != number.data() + number.size() || nth == 0) {
      return Status(ErrorCode::kInvalidArgument, "bad pass number in '" + std::string(item) + "'");
    }
    action_text = action_text.substr(0, at);
  }
  const Action action = action_text == "on" ? Action::kOn : action_text == "crash" ? Action::kCrash : Action::kOff;
  if (action == Action::kOff) {
    return Status(ErrorCode::kInvalidArgument, "unknown action in '" + std::string(item) + "': use on or crash");
  }
  auto& armed = points[static_cast<std::size_t>(point)];
  armed.passes_left.store(nth, std::memory_order_relaxed);
  armed.action.store(action, std::memory_order_release);
  return Status();
}

}  // namespace

std::string_view ToString(FailPoint point) {
  switch (point) {
    case FailPoint::kNone: return "none";
    case FailPoint::kSkipIoGuard: return "skip-io-guard";
    case FailPoint::kCrashAfterArm: return "crash-after-arm";
    case FailPoint::kCrashBeforePunch: return "crash-before-punch";
    case FailPoint::kCrashAfterPunch: return "crash-after-punch";
    case FailPoint::kCrashBeforeCopy: return "crash-before-copy";
    case FailPoint::kCrashAfterCopy: return "crash-after-copy";
    case FailPoint::kCrashAfterFaultRead: return "crash-after-fault-read";
    case FailPoint::kCrashAtOpenData: return "crash-at-open-data";
    case FailPoint::kCrashInPreCopy: return "crash-in-pre-copy";
    case FailPoint::kCrashWhileStreaming: return "crash-while-streaming";
    case FailPoint::kCrashAtSwitchOver: return "crash-at-switch-over";
    case FailPoint::kCrashAtOpen: return "crash-at-open";
    case FailPoint::kCrashAfterArrival: return "crash-after-arrival";
    case FailPoint::kCrashServingImage: return "crash-serving-image";
    case FailPoint::kFailAfterCapture: return "fail-after-capture";
    case FailPoint::kFailAfterTakeOver: return "fail-after-take-over";
    case FailPoint::kSlowLeaveLease: return "slow-leave-lease";
    case FailPoint::kBreakRdma: return "break-rdma";
    case FailPoint::kSlowRegistration: return "slow-registration";
    case FailPoint::kCount: break;
  }
  return "unknown";
}

namespace fail_points {

Status Arm(std::string_view specification) {
  while (!specification.empty()) {
    const auto comma = specification.find(',');
    if (Status status = ArmOne(specification.substr(0, comma)); !status.ok()) {
      DisarmAll();
      return status;
    }
    specification = comma == std::string_view::npos ? std::string_view() : specification.substr(comma + 1);
    any_armed.store(true, std::memory_order_release);
  }
  return Status();
}

Status ArmFromEnvironment() {
  const char* specification = std::getenv("HECA_FAIL");
  return specification != nullptr ? Arm(specification) : Status();
}

void DisarmAll() {
  any_armed.store(false, std::memory_order_release);
  for (auto& point : points) point.action.store(Action::kOff, std::memory_order_release);
}

bool PassArmed(FailPoint point) {
  auto& armed = points[static_cast<std::size_t>(point)];
  const Action action = armed.action.load(std::memory_order_acquire);
  if (action == Action::kOff) return false;
  std::uint32_t left = armed.passes_left.load(std::memory_order_relaxed);
  while (left > 1) {
    if (armed.passes_left.compare_exchange_weak(left, left - 1, std::memory_order_relaxed)) return false;
  }
  if (action == Action::kCrash) {
    ::kill(::getpid(), SIGKILL);
    for (;;) ::pause();
  }
  return true;
}

}  // namespace fail_points
}  // namespace heca
