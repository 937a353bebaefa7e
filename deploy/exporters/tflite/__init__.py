"""TFLite: conversion, ranges, mixed precision, weight-only quantisation."""
