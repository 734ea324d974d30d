// Every page loads this one module; each part looks whether the page has work for it.

import { startActivity } from "./activity.js";
import { startFolds } from "./folds.js";
import { startLight } from "./light.js";
import { startLists } from "./lists.js";
import { startAudit } from "./audit.js";
import { startLesson } from "./lesson.js";
import { startMerge } from "./merge.js";
import { startPlan } from "./plan.js";
import { startReads } from "./reads.js";
import { startSelection } from "./selection.js";
import { startUi } from "./ui.js";
import { startViewer } from "./viewer.js";

startUi();
startMerge();
startActivity();
startAudit();
startReads();
startPlan();
startSelection();
startLists();
startLesson();
startViewer();
startLight();
startFolds();
