# SPDX-License-Identifier: LGPL-2.1-or-later
"""A whole OpenStack of Debian's packages, for heca's Nova driver: cloud.py has the map.

It needs what `tools/install-packages openstack` installs, and runs by `tools/test lab-openstack`.
"""
