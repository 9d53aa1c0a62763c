"""Callbacks over HTTP."""

from fastapi import APIRouter

router = APIRouter()
