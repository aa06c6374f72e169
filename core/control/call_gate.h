// SPDX-License-Identifier: LGPL-2.1-or-later
// Bounds how many calls of a kind run at once, so that they leave threads to the others. Private to this room.
#pragma once

#include <atomic>

namespace heca::control {

/// Thread-safe.
class CallGate {
 public:
  explicit CallGate(int limit) : free_(limit) {}

  /// One call's way through; gives its place back when it goes away.
  class Pass {
   public:
    explicit Pass(CallGate& gate) : gate_(gate), granted_(gate.free_.fetch_sub(1) > 0) {}
    ~Pass() { gate_.free_.fetch_add(1); }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    [[nodiscard]] bool granted() const { return granted_; }

   private:
    CallGate& gate_;
    const bool granted_;
  };

 private:
  std::atomic<int> free_;
};

}  // namespace heca::control
