// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/nearest.h"

#include <gtest/gtest.h>

namespace heca {
namespace {

TEST(Nearest, FindsTheWordThatWasMeant) {
  const std::vector<std::string_view> known{"donate", "data-listen", "slab-size", "name"};
  EXPECT_EQ(Nearest("donnate", known), "donate");
  EXPECT_EQ(Nearest("data_listen", known), "data-listen");
  EXPECT_EQ(Nearest("size-of-slab", known), "");
  EXPECT_EQ(Nearest("quux", known), "");
  EXPECT_EQ(Nearest("x", {}), "");
}

}  // namespace
}  // namespace heca
