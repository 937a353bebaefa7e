"""ONNX: conversion, names, quantisation."""
