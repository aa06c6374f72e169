# SPDX-License-Identifier: Apache-2.0
"""`openstack heca ...`: what an operator of a cloud asks about memory that lives beyond its host.

Everything goes through the public interfaces of Nova and placement: nothing here talks to hecad.
"""
