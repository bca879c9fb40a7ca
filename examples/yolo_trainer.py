"""A trainer for Ultralytics' detectors with CBAM after each stage.

Ultralytics' trainer rebuilds the network, so the insertion must be where it is built:

    YOLO("yolov8n.yaml").train(data="coco8.yaml", trainer=ComposedTrainer)
"""

import copy

from ultralytics.models.yolo.detect import DetectionTrainer

import composer


class ComposedTrainer(DetectionTrainer):
    def get_model(self, cfg=None, weights=None, verbose=True):
        plain = super().get_model(copy.copy(cfg), verbose=verbose)
        model = composer.insert(plain, "cbam", at="stage", params={"min_width": 4}, inplace=True)
        if weights:
            model.load(weights)  # by name; includes the mechanism's weights when training resumes
        return model
