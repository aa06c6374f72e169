// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/transport_choice.h"

#include <gtest/gtest.h>

namespace heca {
namespace {

TEST(TransportChoice, EachWordIsReadAsItIsWritten) {
  for (const auto& [word, choice] : kTransportChoices) {
    EXPECT_EQ(ToString(choice), word);
    EXPECT_EQ(TransportChoiceOf(word), choice);
  }
  EXPECT_EQ(ToString(TransportChoice::kInvalid), "");
  EXPECT_EQ(TransportChoiceOf(""), TransportChoice::kInvalid);
  EXPECT_EQ(TransportChoiceOf("TCP"), TransportChoice::kInvalid);
}

TEST(TransportChoice, OneThatIsForcedAllowsNothingElse) {
  EXPECT_TRUE(Allows(TransportChoice::kAuto, TransportChoice::kTcp));
  EXPECT_TRUE(Allows(TransportChoice::kAuto, TransportChoice::kRdma));
  EXPECT_TRUE(Allows(TransportChoice::kTcp, TransportChoice::kTcp));
  EXPECT_FALSE(Allows(TransportChoice::kTcp, TransportChoice::kRdma));
  EXPECT_FALSE(Allows(TransportChoice::kRdma, TransportChoice::kTcp));
}

}  // namespace
}  // namespace heca
